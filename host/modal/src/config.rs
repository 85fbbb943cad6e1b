//! Where Modal is and who calls it, from where the official clients take it: the variables `MODAL_*` and the profiles of `~/.modal.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use crate::Error;

/// Where Modal's control plane is.
const SERVER_URL: &str = "https://api.modal.com:443";

/// The kind of sandboxes that are created. Commands in them are run the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The newer kind, which is Modal's default.
    #[default]
    V2,
    /// The older kind.
    V1,
}

/// A token, as Modal's page for tokens shows it.
#[derive(Clone)]
pub struct Token {
    /// `ak-…`.
    pub id: String,
    /// `as-…`.
    pub secret: SecretString,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where Modal is, who calls, and how patiently.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The control plane; `MODAL_SERVER_URL` or `server_url`. With `http://` nothing is encrypted.
    pub server_url: String,
    /// Who calls; `MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET`, or `token_id` and `token_secret`.
    pub token: Option<Token>,
    /// The environment in which apps are looked up; empty for the default one. `MODAL_ENVIRONMENT` or `environment`.
    pub environment: String,
    /// The version of the image builder, such as `2025.06`; what the environment says if absent. `MODAL_IMAGE_BUILDER_VERSION` or `image_builder_version`.
    pub image_builder_version: Option<String>,
    /// How long a call that Modal puts off may wait in all; for ever if absent. `MODAL_MAX_THROTTLE_WAIT` or `max_throttle_wait`, in seconds.
    pub max_throttle_wait: Option<Duration>,
    /// Which kind of sandboxes is created. `MODAL_SANDBOX_V2=0` or `sandbox_v2 = false` for the older one.
    pub backend: Backend,
    /// How long a call may take to be answered before it is made again.
    pub call_timeout: Duration,
    /// How long a new sandbox may take until it accepts commands: Modal may have to start a machine first.
    pub start_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_url: SERVER_URL.to_owned(),
            token: None,
            environment: String::new(),
            image_builder_version: None,
            max_throttle_wait: None,
            backend: Backend::default(),
            call_timeout: Duration::from_secs(60),
            // As long as the official clients go on trying.
            start_timeout: Duration::from_secs(310),
        }
    }
}

/// A profile in the file. What a later version of Modal's programs writes there is none of our business.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Profile {
    server_url: Option<String>,
    token_id: Option<String>,
    token_secret: Option<SecretString>,
    environment: Option<String>,
    image_builder_version: Option<String>,
    max_throttle_wait: Option<f64>,
    sandbox_v2: Option<bool>,
}

impl Config {
    /// Reads the environment, and the file that `MODAL_CONFIG_PATH` names or `~/.modal.toml`, if it is there. The environment wins. Blocks while it reads.
    ///
    /// # Errors
    /// [`Error::Config`] if the file is there and cannot be read, or a value makes no sense.
    pub fn from_env() -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok();
        let named = variable("MODAL_CONFIG_PATH").map(PathBuf::from);
        let path = named.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".modal.toml")));
        Self::from_sources(variable, path.as_deref())
    }

    /// [`from_env`](Self::from_env) with variables and a file that are given.
    ///
    /// # Errors
    /// As there.
    pub fn from_sources(variable: impl Fn(&str) -> Option<String>, file: Option<&Path>) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let profile = match file {
            Some(file) => read_profile(file, variable("MODAL_PROFILE").as_deref())?,
            None => Profile::default(),
        };
        let default = Self::default();
        let id = variable("MODAL_TOKEN_ID").or(profile.token_id);
        let secret = variable("MODAL_TOKEN_SECRET").map(SecretString::from).or(profile.token_secret);
        let token = match (id, secret) {
            (Some(id), Some(secret)) => Some(Token { id, secret }),
            (None, None) => None,
            _ => return Err(Error::Config("a token is an id and a secret, of which only one is there".to_owned())),
        };
        let max_throttle_wait = match variable("MODAL_MAX_THROTTLE_WAIT") {
            Some(text) => Some(text.parse().map_err(|_| Error::Config(format!("MODAL_MAX_THROTTLE_WAIT is no number: {text:?}")))?),
            None => profile.max_throttle_wait,
        };
        let seconds = |seconds: f64| {
            Duration::try_from_secs_f64(seconds).map_err(|_| Error::Config(format!("the longest wait cannot be {seconds} s")))
        };
        Ok(Self {
            server_url: variable("MODAL_SERVER_URL").or(profile.server_url).unwrap_or(default.server_url),
            token,
            environment: variable("MODAL_ENVIRONMENT").or(profile.environment).unwrap_or_default(),
            image_builder_version: variable("MODAL_IMAGE_BUILDER_VERSION").or(profile.image_builder_version),
            max_throttle_wait: max_throttle_wait.map(seconds).transpose()?,
            backend: match variable("MODAL_SANDBOX_V2")
                .map(|value| !matches!(value.to_lowercase().as_str(), "0" | "false"))
                .or(profile.sandbox_v2)
            {
                Some(false) => Backend::V1,
                _ => Backend::V2,
            },
            ..default
        })
    }
}

fn read_profile(file: &Path, wanted: Option<&str>) -> Result<Profile, Error> {
    let failed = |reason: String| Error::Config(format!("{}: {reason}", file.display()));
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error.to_string())),
    };
    // Not the whole error, which quotes the line, and in that line may be the secret.
    let mut profiles: BTreeMap<String, toml::Value> = toml::from_str(&text).map_err(|error| failed(error.message().to_owned()))?;
    let is_active = |profile: &toml::Value| profile.get("active").and_then(toml::Value::as_bool) == Some(true);
    let active = || profiles.iter().find(|(_, profile)| is_active(profile)).map(|(name, _)| name.clone());
    let name = wanted.map(str::to_owned).or_else(active).unwrap_or_else(|| "default".to_owned());
    // One that is not there says nothing: all may be in the environment.
    match profiles.remove(&name) {
        Some(profile) => profile.try_into().map_err(|error: toml::de::Error| failed(error.message().to_owned())),
        None => Ok(Profile::default()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn read(variables: &[(&str, &str)], text: Option<&str>) -> Result<Config, Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("modal.toml");
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Config::from_sources(variable, Some(&path))
    }

    const PROFILES: &str = r#"
        [work]
        token_id = "ak-work"
        token_secret = "as-work"
        active = true
        environment = "staging"
        newer = [1]

        [home]
        token_id = "ak-home"
        token_secret = "as-home"
        server_url = "http://127.0.0.1:9"
        max_throttle_wait = 1.5
    "#;

    fn token(config: &Config) -> Option<(&str, &str)> {
        config.token.as_ref().map(|token| (token.id.as_str(), token.secret.expose_secret()))
    }

    #[test]
    fn nothing_is_modal_itself_and_nobody() {
        let config = read(&[], None).unwrap();
        assert_eq!(config.server_url, "https://api.modal.com:443");
        assert!(config.token.is_none());
        assert_eq!(config.backend, Backend::V2);
    }

    #[test]
    fn the_active_profile_counts_or_the_one_that_is_named_and_variables_win() {
        let config = read(&[], Some(PROFILES)).unwrap();
        assert_eq!((token(&config), config.environment.as_str()), (Some(("ak-work", "as-work")), "staging"));
        let config = read(&[("MODAL_PROFILE", "home"), ("MODAL_SANDBOX_V2", "0")], Some(PROFILES)).unwrap();
        assert_eq!((token(&config), config.server_url.as_str()), (Some(("ak-home", "as-home")), "http://127.0.0.1:9"));
        assert_eq!((config.max_throttle_wait, config.backend), (Some(Duration::from_millis(1500)), Backend::V1));
        let variables = [
            ("MODAL_TOKEN_ID", "ak-1"),
            ("MODAL_TOKEN_SECRET", "as-1"),
            ("MODAL_ENVIRONMENT", "main"),
            ("MODAL_MAX_THROTTLE_WAIT", "0"),
            ("MODAL_IMAGE_BUILDER_VERSION", "2025.06"),
            ("MODAL_SERVER_URL", "http://127.0.0.1:8"),
        ];
        let config = read(&variables, Some(PROFILES)).unwrap();
        assert_eq!((token(&config), config.environment.as_str()), (Some(("ak-1", "as-1")), "main"));
        assert_eq!(config.server_url, "http://127.0.0.1:8");
        assert_eq!(config.max_throttle_wait, Some(Duration::ZERO));
        assert_eq!(config.image_builder_version.as_deref(), Some("2025.06"));
        assert!(read(&[("MODAL_PROFILE", "other")], Some(PROFILES)).unwrap().token.is_none(), "it says nothing");
        let other = read(&[], Some("[default]\ntoken_id = 'ak-d'\ntoken_secret = 'as-d'")).unwrap();
        assert_eq!(token(&other), Some(("ak-d", "as-d")));
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_no_secret_is_shown() {
        let bad = [
            (vec![("MODAL_TOKEN_ID", "ak-1")], ""),
            (vec![("MODAL_MAX_THROTTLE_WAIT", "soon")], ""),
            (vec![("MODAL_MAX_THROTTLE_WAIT", "-1")], ""),
            (vec![], "[default]\ntoken_secret = 'as-SECRET"),
            (vec![], "[default]\ntoken_id = 'ak-1'\ntoken_secret = ['as-SECRET']"),
        ];
        for (variables, text) in bad {
            let error = read(&variables, Some(text)).unwrap_err();
            assert!(matches!(error, Error::Config(_)), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
        }
        let shown = format!("{:?}", read(&[], Some(PROFILES)).unwrap());
        assert!(shown.contains("ak-work") && !shown.contains("as-work"), "{shown}");
    }
}
