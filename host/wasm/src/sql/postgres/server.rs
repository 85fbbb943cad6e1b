//! Where a server is, and how it is connected to.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, RecyclingMethod};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::context::TokioContext;
use url::form_urlencoded;

use super::tls::{self, Trust};
use crate::sql::Error;

/// What a new connection is told, unless its role or its database says something else: that a lock is not waited for without end, that a transaction which is forgotten (the
/// host was paused, or its machine went away) does not keep others waiting for ever, and that what is committed is on the disk.
const SETTINGS: &str = "\
    SELECT set_config('lock_timeout', '5s', false) WHERE current_setting('lock_timeout') = '0'; \
    SELECT set_config('idle_in_transaction_session_timeout', '30s', false) WHERE current_setting('idle_in_transaction_session_timeout') = '0'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// How a PostgreSQL database is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?PARAMETER=VALUE…]`, where the parameters are those of libpq that make sense here. Of `sslmode` there are
    /// - `verify-full` (the default, unless the host is this machine): encrypted, with a server whose certificate is valid and its own;
    /// - `require`: encrypted, with whoever answers;
    /// - `disable`: in plain text (the default if the host is this machine).
    ///
    /// `sslrootcert` is a file of certificates (PEM) that are trusted instead of those of this machine.
    pub url: String,
    /// The password, if it does not stand in the URL.
    pub password: Option<String>,
    /// Connections at most.
    pub connections: usize,
    /// How long a statement waits for a connection: for one that is free, or for the server's answer to a new one.
    pub wait: Duration,
}

impl PostgresOptions {
    /// The options for a URL, with everything else as it is by default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            // A few more than an adapter has instances by default. A server has a hundred by default, for all its clients.
            connections: 10,
            // Shorter than the deadline of a component's call.
            wait: Duration::from_secs(5),
        }
    }

    /// Whether they can be used, without going anywhere.
    ///
    /// # Errors
    /// [`Error::Syntax`], without anything secret.
    pub fn check(&self) -> Result<(), Error> {
        Server::new(self).map(drop)
    }
}

impl fmt::Debug for PostgresOptions {
    /// Without secrets: the URL may hold the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PostgresOptions").field("connections", &self.connections).field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// A server that can be connected to.
pub(super) struct Server {
    config: Config,
    pub(super) tls: MakeRustlsConnect,
    /// For people: where it is, and which database.
    pub(super) name: String,
}

impl Server {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Syntax(format!("the PostgreSQL URL cannot be used: {reason}"));
        let (url, query) = options.url.split_once('?').unwrap_or((&options.url, ""));
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(unusable("it does not begin with postgres://".to_owned()));
        }
        let (mut mode, mut root) = (None, None);
        let mut others = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => root = Some(value.into_owned()),
                _ => {
                    others.append_pair(&name, &value);
                }
            }
        }
        // The driver reads %20 where a form would have a plus sign.
        let others = others.finish().replace('+', "%20");
        let mut config: Config = format!("{url}?{others}").parse().map_err(|error: tokio_postgres::Error| unusable(reason(&error)))?;
        if let Some(password) = &options.password {
            config.password(password);
        }
        if config.get_user().is_none() {
            return Err(unusable("it names no user: postgres://USER@HOST/DATABASE".to_owned()));
        }
        if config.get_hosts().is_empty() {
            return Err(unusable("it names no host".to_owned()));
        }
        let is_local = config.get_hosts().iter().all(is_local);
        let trust = match (mode.as_deref(), root) {
            (None, None) if is_local => None,
            (Some("disable"), None) => None,
            (Some("disable"), Some(_)) => return Err(unusable("sslmode=disable has no use for sslrootcert".to_owned())),
            (Some("require"), None) => Some(Trust::Anyone),
            // As libpq has it: who names whom to trust wants that checked.
            (None | Some("verify-full" | "require"), Some(root)) => Some(Trust::File(root.into())),
            (None | Some("verify-full"), None) => Some(Trust::Machine),
            (Some(other), _) => return Err(unusable(format!("sslmode is verify-full, require or disable, and not {other}"))),
        };
        let tls = tls::connector(trust.as_ref()).map_err(unusable)?;
        config.ssl_mode(if trust.is_some() { SslMode::Require } else { SslMode::Disable });
        if config.get_application_name().is_none() {
            config.application_name("agent-host");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(options.wait);
        }
        if config.get_tcp_user_timeout().is_none() {
            // Else a server that vanished without a word is noticed after a quarter of an hour.
            config.tcp_user_timeout(Duration::from_secs(10));
        }
        let name = name(&config);
        Ok(Self { config, tls, name })
    }

    /// What makes connections, which live on `runtime`.
    pub(super) fn into_manager(self, runtime: &Handle) -> Manager {
        let connect = OnRuntime { tls: self.tls, runtime: runtime.clone() };
        Manager::from_connect(self.config, connect, ManagerConfig { recycling_method: RecyclingMethod::Fast })
    }
}

/// What is wrong with a URL. The driver's own words are only that it is.
fn reason(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn name(config: &Config) -> String {
    let hosts = config.get_hosts().iter().enumerate().map(|(index, host)| match host {
        Host::Tcp(name) => {
            // One port is for all hosts.
            let port = config.get_ports().get(index).or_else(|| config.get_ports().first()).copied().unwrap_or(5432);
            format!("{name}:{port}")
        }
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts = hosts.collect::<Vec<_>>().join(",");
    format!("{hosts}/{}", config.get_dbname().or(config.get_user()).unwrap_or_default())
}

/// Connects so that the connection lives on a runtime that serves, whichever runtime asks: one on which components run may be busy with them.
struct OnRuntime {
    tls: MakeRustlsConnect,
    runtime: Handle,
}

impl Connect for OnRuntime {
    fn connect(
        &self,
        config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + '_>> {
        let config = config.clone();
        Box::pin(async move {
            let connecting = async { config.connect(self.tls.clone()).await };
            let (client, connection) = TokioContext::new(connecting, self.runtime.clone()).await?;
            let task = self.runtime.spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to PostgreSQL ended");
                }
            });
            client.batch_execute(SETTINGS).await?;
            Ok((client, task))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Result<Server, Error> {
        Server::new(&PostgresOptions::new(url))
    }

    #[test]
    fn a_url_says_where_and_how_safely() {
        for (url, name, mode) in [
            ("postgres://a@localhost/b", "localhost:5432/b", SslMode::Disable),
            ("postgresql://a:secret@127.0.0.1:5433/b", "127.0.0.1:5433/b", SslMode::Disable),
            ("postgres://a@[::1]/b", "::1:5432/b", SslMode::Disable),
            ("postgres://a@/b?host=/run/postgresql", "/run/postgresql/b", SslMode::Disable),
            ("postgres://a@localhost/b?sslmode=require&application_name=my%20program", "localhost:5432/b", SslMode::Require),
            ("postgres://a@db.example.org/b?sslmode=require", "db.example.org:5432/b", SslMode::Require),
            ("postgres://a@db.example.org?sslmode=disable", "db.example.org:5432/a", SslMode::Disable),
            ("postgres://a@one:1,two:2/b?sslmode=disable&target_session_attrs=read-write", "one:1,two:2/b", SslMode::Disable),
        ] {
            let server = server(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((&*server.name, server.config.get_ssl_mode()), (name, mode), "{url}");
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_its_password() {
        for (url, expected) in [
            ("mysql://a:secret@localhost/b", "postgres://"),
            ("postgres://localhost/b", "user"),
            ("postgres://a:secret@/b", "host"),
            ("postgres://a:secret@localhost/b?sslmode=prefer", "sslmode is verify-full, require or disable, and not prefer"),
            ("postgres://a:secret@localhost/b?sslmode=disable&sslrootcert=x", "sslrootcert"),
            ("postgres://a:secret@localhost/b?sslrootcert=/no/such/file", "/no/such/file"),
            ("postgres://a:secret@localhost/b?colour=red", "colour"),
            ("postgres://a:secret@localhost:99999999/b", "port"),
        ] {
            let Err(error) = server(url) else { panic!("{url} was taken") };
            let error = error.to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{url}: {error}");
        }
        assert!(!format!("{:?}", PostgresOptions::new("postgres://a:secret@localhost/b")).contains("secret"));
    }
}
