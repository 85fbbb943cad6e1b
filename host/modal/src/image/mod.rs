//! Images: what is on the disk of a sandbox when it starts.

mod build;
mod files;
mod mount;

pub use self::build::Build;
pub use self::files::Files;
use crate::client::{CallOptions, rpc};
use crate::proto::client::ImageFromIdRequest;
use crate::{App, Error};

const DOING: &str = "building an image";

/// A recipe for an image: layers, one on top of the other. The same recipe is built once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Image {
    layers: Vec<Layer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Layer {
    Commands(Vec<String>),
    /// Files, and the directory in which they are to be.
    Files(Files, String),
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageId(String);

impl ImageId {
    /// `im-…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn new(id: String) -> Self {
        Self(id)
    }

    /// The image of an id that is known.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, and those of every call.
    pub async fn look_up(app: &App, id: impl Into<String>) -> Result<Self, Error> {
        const DOING: &str = "looking up an image";
        let request = ImageFromIdRequest { image_id: id.into() };
        let found = app.client().call(DOING, CallOptions::default(), request, rpc!(image_from_id)).await;
        match found {
            Ok(found) => Ok(Self(found.image_id)),
            // So Modal says it, too.
            Err(Error::Invalid { reason, .. }) => Err(Error::NotFound { doing: DOING, reason }),
            Err(error) => Err(error),
        }
    }
}

impl Image {
    /// An image of a registry, such as `node:22-slim`.
    pub fn from_registry(tag: &str) -> Self {
        Self { layers: vec![Layer::Commands(vec![format!("FROM {tag}")])] }
    }

    /// Adds a layer: commands as in a Dockerfile, such as `RUN apt-get update`.
    #[must_use]
    pub fn dockerfile_commands(mut self, commands: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let commands: Vec<String> = commands.into_iter().map(Into::into).collect();
        if !commands.is_empty() {
            self.layers.push(Layer::Commands(commands));
        }
        self
    }

    /// Adds a layer: files, in a directory that is an absolute path and is made if it is not there. They are owned by root, and take the place of what is there.
    ///
    /// Modal is sent what it does not have yet of their contents, when the image is built.
    #[must_use]
    pub fn copy(mut self, files: Files, directory: impl Into<String>) -> Self {
        if !files.is_empty() {
            self.layers.push(Layer::Files(files, directory.into()));
        }
        self
    }

    /// Builds the image, unless that was done before. Await what it gives, or follow its log first.
    pub fn build(&self, app: &App) -> Build {
        Build::new(app, &self.layers)
    }
}
