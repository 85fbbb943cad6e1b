//! Where the server is, and who asks.

use std::env;
use std::net::IpAddr;
use std::str::FromStr as _;

use agent_host_adapter::{Config, Error, Result};
use tokio_postgres::config::{Host, SslMode};

/// The configuration key with the URL.
const URL: &str = "url";

/// The configuration key that allows what others on the network can read.
const UNENCRYPTED: &str = "unencrypted";

/// The environment variable with the password.
const PASSWORD: &str = "PGPASSWORD";

/// The port, if the URL has none.
const PORT: u16 = 5432;

/// What is in force in each of the adapter's connections: what is acknowledged is on the server's disk; nobody waits for a lock for longer than a call may take; and what an instance
/// that was paused left open ends.
const OPTIONS: &str = "-c synchronous_commit=on -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s";

/// How to connect.
pub(crate) struct Settings {
    pub(crate) driver: tokio_postgres::Config,
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Settings {
    /// From the configuration, and the password from the environment.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what is wrong, without repeating a password.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let password = env::var(PASSWORD).ok();
        Self::with_password(config, password.as_deref().map(str::trim_end))
    }

    fn with_password(config: &Config, password: Option<&str>) -> Result<Self> {
        config.only(&[URL, UNENCRYPTED])?;
        let mut driver = tokio_postgres::Config::from_str(config.require(URL)?)
            .map_err(|_| Error::invalid(format!("the configuration key {URL:?} is not postgres://USER@HOST:PORT/DATABASE")))?;
        if driver.get_password().is_some() {
            return Err(Error::invalid(format!(
                "the configuration key {URL:?} has a password, and is shown: grant it as the environment variable {PASSWORD}"
            )));
        }
        if driver.get_ssl_mode() == SslMode::Require {
            return Err(Error::invalid("this adapter cannot encrypt its connection, and sslmode=require asks for that"));
        }
        let [Host::Tcp(host)] = driver.get_hosts() else {
            return Err(Error::invalid(format!("the configuration key {URL:?} names one host, by its name or address")));
        };
        let host = host.clone();
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        match config.get(UNENCRYPTED) {
            Some("yes") => {}
            Some(_) => return Err(Error::invalid(format!("the configuration key {UNENCRYPTED:?} is \"yes\", or absent"))),
            None if is_here => {}
            None => {
                return Err(Error::invalid(format!(
                    "the connection to {host} is not encrypted: the configuration key {UNENCRYPTED:?} set to \"yes\" says that nobody on the way reads along"
                )));
            }
        }
        let port = driver.get_ports().first().copied().unwrap_or(PORT);
        driver.ssl_mode(SslMode::Disable).application_name("agent-host postgres-wire").options(OPTIONS);
        if let Some(password) = password {
            driver.password(password);
        }
        Ok(Self { driver, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Settings> {
        let entries = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::with_password(&Config::new(entries), Some("secret"))
    }

    #[test]
    fn a_url_says_where_the_server_is() {
        let found = settings(&[("url", "postgres://me@127.0.0.1:5433/agents")]).unwrap();
        assert_eq!((found.host.as_str(), found.port), ("127.0.0.1", 5433));
        assert_eq!(
            (found.driver.get_user(), found.driver.get_dbname(), found.driver.get_password()),
            (Some("me"), Some("agents"), Some(&b"secret"[..]))
        );
        assert_eq!(settings(&[("url", "postgres://me@localhost/agents")]).unwrap().port, 5432);
        assert_eq!(settings(&[("url", "postgres://me@db.example.org/agents"), ("unencrypted", "yes")]).unwrap().host, "db.example.org");
    }

    #[test]
    fn what_is_wrong_is_said_and_secrets_are_not() {
        for (pairs, says) in [
            (&[][..], "\"url\" is missing"),
            (&[("url", "mysql:x")], "is not postgres://"),
            (&[("url", "postgres://me:hidden@localhost/agents")], "PGPASSWORD"),
            (&[("url", "postgres://me@localhost/agents?sslmode=require")], "cannot encrypt"),
            (&[("url", "postgres://me@10.0.0.1/agents")], "is not encrypted"),
            (&[("url", "postgres://me@10.0.0.1/agents"), ("unencrypted", "no")], "\"yes\", or absent"),
            (&[("url", "postgres://me@localhost,127.0.0.1/agents")], "names one host"),
            (&[("url", "postgres://me@localhost/agents"), ("pool", "5")], "unknown configuration key"),
        ] {
            let Err(Error::Invalid(text)) = settings(pairs) else { panic!("{pairs:?} was accepted") };
            assert!(text.contains(says) && !text.contains("hidden"), "{text}");
        }
    }
}
