//! `agent-host sandboxes`: what there is of this host's, whether it runs or not, and the end of what it does not use.

use std::time::Duration;

use agent_host_modal::Client;
use agent_host_sandboxes::{Found, local, modal};
use anyhow::{Context as _, bail};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::config::Reach;
use crate::config::choice::Provider;
use crate::data_dir::{self, DataDir, Use};
use crate::output;

/// The sandboxes of a host, or at Modal of all that share its app.
pub struct Sandboxes {
    reach: Reach,
    /// Nobody, if there has never been a host.
    user: Option<Use>,
}

impl Sandboxes {
    /// Those of the host that the configuration is of.
    pub fn new(reach: Reach) -> anyhow::Result<Self> {
        let user = DataDir::look(&reach.data_dir)?;
        Ok(Self { reach, user })
    }

    /// Prints them.
    pub async fn list(&self, of_all_hosts: bool, as_json: bool) -> anyhow::Result<()> {
        let found = match self.host() {
            _ if of_all_hosts => self.find(None).await?,
            Some(host) => self.find(Some(host)).await?,
            None => Vec::new(),
        };
        if as_json {
            let found: Vec<Value> = found.iter().map(|found| self.describe(found)).collect();
            output::print_line(format_args!("{:#}", Value::from(found)))?;
        } else {
            output::print(self.table(&found))?;
        }
        Ok(())
    }

    /// Ends those that no process uses: of this host, or of another one that is not there any more. Prints the ids.
    pub async fn prune(&self, host: Option<&str>) -> anyhow::Result<()> {
        let own = self.host();
        let Some(host) = host.or(own) else { return Ok(()) };
        if self.reach.provider == Provider::Local {
            return self.prune_local(own == Some(host)).await;
        }
        let client = client()?;
        let mut failed = 0;
        for found in self.find(Some(host)).await?.iter().filter(|found| !self.is_used(found)) {
            // The host may have started, or a session taken it up, since it was listed.
            let user = DataDir::look(&self.reach.data_dir)?.and_then(|user| user.process_id);
            match modal::end_unless_used(&client, &found.id, user.as_deref()).await {
                Ok(true) => output::print_line(&found.id)?,
                Ok(false) => {}
                Err(error) => {
                    failed += 1;
                    eprintln!("{}: {error}", found.id);
                }
            }
        }
        if failed > 0 { bail!("{failed} sandboxes could not be ended") } else { Ok(()) }
    }

    async fn prune_local(&self, is_own: bool) -> anyhow::Result<()> {
        if !is_own {
            bail!("local sandboxes are in the data directory of their host");
        }
        // It cannot be opened while a host runs, which has ended what earlier ones left.
        let data_dir = DataDir::open(&self.reach.data_dir)?;
        let found = self.find(None).await?;
        local::end_all(&data_dir.sandboxes()).context("failed to end local sandboxes")?;
        found.iter().try_for_each(|found| output::print_line(&found.id)).map_err(Into::into)
    }

    fn host(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.host_id.as_str())
    }

    async fn find(&self, host: Option<&str>) -> anyhow::Result<Vec<Found>> {
        match self.reach.provider {
            Provider::Modal => modal::find(&client()?, &self.reach.modal_app, host).await.context("failed to list the sandboxes at Modal"),
            Provider::Local => {
                let Some(Use { host_id, process_id }) = &self.user else { return Ok(Vec::new()) };
                let root = data_dir::sandboxes(&self.reach.data_dir);
                let found = local::find(&root, host_id, process_id.as_deref());
                found.with_context(|| format!("failed to look for sandboxes in {}", root.display()))
            }
        }
    }

    fn is_used(&self, found: &Found) -> bool {
        let running = self.user.as_ref().and_then(|user| user.process_id.as_ref());
        running.is_some() && running == found.process.as_ref()
    }

    fn describe(&self, found: &Found) -> Value {
        let Found { id, host, session, epoch, age, process: _ } = found;
        json!({"id": id, "host": host, "session": session, "epoch": epoch, "ageSeconds": age.as_secs(), "state": self.state(found)})
    }

    fn state(&self, found: &Found) -> &'static str {
        match (self.is_used(found), &found.session) {
            (true, Some(_)) => "used",
            (true, None) => "ready",
            // Whether another host runs is not to be seen from here.
            (false, _) if self.user.as_ref().is_none_or(|user| user.host_id != found.host) => "unknown",
            (false, _) => "left",
        }
    }

    fn table(&self, found: &[Found]) -> String {
        let mut rows = vec![["ID", "AGE", "SESSION", "EPOCH", "STATE", "HOST"].map(str::to_owned)];
        rows.extend(found.iter().map(|found| {
            let dash = || "-".to_owned();
            [
                found.id.clone(),
                age(found.age),
                found.session.clone().unwrap_or_else(dash),
                found.epoch.map_or_else(dash, |epoch| epoch.to_string()),
                self.state(found).to_owned(),
                found.host.clone(),
            ]
        }));
        output::table(&rows)
    }
}

fn age(age: Duration) -> String {
    SignedDuration::try_from(Duration::from_secs(age.as_secs())).map_or_else(|_| "-".to_owned(), |age| format!("{age:#}"))
}

fn client() -> anyhow::Result<Client> {
    Client::from_env().context("sandboxes are at Modal (sandbox.provider)")
}
