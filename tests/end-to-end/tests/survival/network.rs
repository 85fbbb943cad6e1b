//! A network between a client and the host, which can be cut: nothing passes any more, and neither side is told.

use std::future::pending;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The network. The connections over it stay open, as far as both sides can tell, until it is dropped.
pub(crate) struct Network {
    address: String,
    requests: watch::Sender<bool>,
    answers: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Network {
    /// To the host at that address.
    pub(crate) async fn to(host: &str) -> Self {
        let (listener, host) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), host.to_owned());
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (requests, answers) = (watch::Sender::new(false), watch::Sender::new(false));
        let (cut_requests, cut_answers) = (requests.subscribe(), answers.subscribe());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_host, to_host) = TcpStream::connect(&host).await.unwrap().into_split();
                connections.spawn(pass(from_client, to_host, cut_requests.clone()));
                connections.spawn(pass(from_host, to_client, cut_answers.clone()));
            }
        });
        Self { address, requests, answers, task }
    }

    /// `http://127.0.0.1:PORT`, for the client.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Nothing reaches the client any more.
    pub(crate) fn cut_answers(&self) {
        self.answers.send_replace(true);
    }

    /// Nothing reaches anybody any more.
    pub(crate) fn cut(&self) {
        self.cut_answers();
        self.requests.send_replace(true);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let is_cut = async move {
        drop(cut.wait_for(|cut| *cut).await);
    };
    let passing = async {
        // That one side has closed its connection is told to the other.
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    };
    tokio::select! {
        biased;
        () = is_cut => {}
        () = passing => return,
    }
    // The sockets stay open, and nothing is read from them.
    pending().await
}
