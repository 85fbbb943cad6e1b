//! The server, as the contract's functions use it.

use agent_host_adapter::Result;

use crate::capabilities::Server;
use crate::client::{Call, Client};
use crate::request::{Request, WriteKey};
use crate::settings::Settings;
use crate::target::Target;
use crate::transport::Transport;

/// A server, and what is known of it.
pub(crate) struct Store<T> {
    pub(crate) client: Client<T>,
    pub(crate) server: Server,
}

impl<T: Transport> Store<T> {
    pub(crate) fn open(transport: T, settings: Settings) -> Result<Self> {
        let Settings { url, origin, credentials, patience, .. } = settings;
        let client = Client::new(transport, url, origin, credentials, patience);
        let server = Server::meet(&client, settings.needs_leases, settings.piece_bytes)?;
        Ok(Self { client, server })
    }

    pub(crate) fn health(&self) -> Result<()> {
        self.client.call().send(&Request::get(Target::new("/health")))?.done()
    }

    /// Brings all of `data` but its last piece to the server, under the key of the write that they belong to, in which nothing sees them before that write is done. Gives how many
    /// bytes that were, and the last piece.
    pub(crate) fn stage<'a>(&self, call: &Call<'_, T>, write: &WriteKey, data: &'a [u8]) -> Result<(u64, &'a [u8])> {
        let mut staged = 0;
        let mut rest = data;
        while let Some((piece, behind)) = rest.split_at_checked(self.server.piece_bytes).filter(|(_, behind)| !behind.is_empty()) {
            let target = Target::new("/piece").with("write", &write.0).with_number("offset", staged);
            call.send(&Request::write("PUT", target, &self.client.key()?).piece(piece))?.done()?;
            staged += piece.len() as u64;
            rest = behind;
        }
        Ok((staged, rest))
    }
}

#[cfg(test)]
pub(crate) mod tests;
