//! Apps: what images and sandboxes belong to.

use crate::client::{CallOptions, rpc};
use crate::proto::client::{AppGetOrCreateRequest, EnvironmentGetOrCreateRequest, ObjectCreationType};
use crate::{Client, Error};

/// An app.
#[derive(Clone, Debug)]
pub struct App {
    client: Client,
    name: String,
    id: String,
}

/// A name that an app may have.
#[must_use = "nothing is looked up before"]
#[derive(Clone, Debug)]
pub struct AppLookup {
    client: Client,
    name: String,
}

impl AppLookup {
    /// The app, which is created if there is none of this name.
    ///
    /// # Errors
    /// [`Error::Invalid`] if an app cannot have the name, and those of every call.
    pub async fn create_if_missing(self) -> Result<App, Error> {
        self.get_or_create(ObjectCreationType::CreateIfMissing).await
    }

    /// The app.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none of this name, and those of every call.
    pub async fn get(self) -> Result<App, Error> {
        self.get_or_create(ObjectCreationType::Unspecified).await
    }

    async fn get_or_create(self, creation: ObjectCreationType) -> Result<App, Error> {
        const DOING: &str = "looking up an app";
        let Self { client, name } = self;
        check_name(DOING, &name)?;
        let request = AppGetOrCreateRequest {
            app_name: name.clone(),
            environment_name: client.config().environment.clone(),
            object_creation_type: creation.into(),
        };
        let id = client.call(DOING, CallOptions::default(), request, rpc!(app_get_or_create)).await?.app_id;
        Ok(App { client, name, id })
    }
}

impl App {
    pub(crate) fn lookup(client: Client, name: String) -> AppLookup {
        AppLookup { client, name }
    }

    /// Its id: `ap-…`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose app it is.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The version of the image builder that the environment has.
    pub(crate) async fn image_builder_version(&self) -> Result<String, Error> {
        const DOING: &str = "looking up the image builder's version";
        let config = self.client.config();
        if let Some(version) = &config.image_builder_version {
            return Ok(version.clone());
        }
        let request = EnvironmentGetOrCreateRequest {
            deployment_name: config.environment.clone(),
            object_creation_type: ObjectCreationType::Unspecified.into(),
        };
        let answer = self.client.call(DOING, CallOptions::default(), request, rpc!(environment_get_or_create)).await?;
        let settings = answer.metadata.and_then(|metadata| metadata.settings);
        settings.map(|settings| settings.image_builder_version).ok_or_else(|| Error::protocol(DOING, "the environment has no settings"))
    }
}

/// Names of apps, sandboxes and secrets.
pub(crate) fn check_name(doing: &'static str, name: &str) -> Result<(), Error> {
    let has_good_characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    // What looks like an id is taken for one.
    let is_id = name.strip_prefix("ap-").is_some_and(|rest| rest.len() == 22 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if has_good_characters && !is_id && (1..=64).contains(&name.len()) {
        return Ok(());
    }
    let reason = format!("{:?} is no name: it must have 1 to 64 of A-Z a-z 0-9 - . _", name.chars().take(80).collect::<String>());
    Err(Error::Invalid { doing, reason })
}
