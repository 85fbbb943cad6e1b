//! A client with the fake that it talks to.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::time::Duration;

use agent_host_modal::{App, Backend, Client, Config, Image, ImageId, Sandbox, SandboxOptions, Token};
use fake_modal::{FakeModal, Options};

/// A fake, and a client of it.
pub(crate) struct World {
    pub(crate) fake: FakeModal,
    pub(crate) app: App,
    pub(crate) image: ImageId,
}

pub(crate) fn options() -> Options {
    Options::new(fake_modal::fs_tools())
}

pub(crate) fn config(fake: &FakeModal) -> Config {
    let mut config = Config::default();
    config.server_url = fake.url().to_owned();
    config.token = Some(Token { id: "ak-fake".to_owned(), secret: "as-fake".into() });
    config.call_timeout = Duration::from_secs(2);
    config.start_timeout = Duration::from_secs(20);
    config
}

pub(crate) fn client(fake: &FakeModal) -> Client {
    Client::new(config(fake)).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(options(), Backend::V2).await
    }

    pub(crate) async fn with(options: Options, backend: Backend) -> Self {
        let fake = FakeModal::start(options).await.unwrap();
        let mut config = config(&fake);
        config.backend = backend;
        let client = Client::new(config).unwrap();
        let app = client.app("tests").create_if_missing().await.unwrap();
        let image = Image::from_registry("debian:12-slim").build(&app).await.unwrap();
        fake.faults().take_calls();
        Self { fake, app, image }
    }

    pub(crate) async fn sandbox(&self) -> Sandbox {
        Sandbox::create(&self.app, &self.image, &SandboxOptions::new().working_dir("/work")).await.unwrap()
    }
}
