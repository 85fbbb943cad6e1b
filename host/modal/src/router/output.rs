//! What a program prints: read from where it was left whenever the connection is lost.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;
use tokio_util::io::StreamReader;
use tonic::Streaming;

use super::{Recovery, Router};
use crate::Error;
use crate::client::rpc;
use crate::proto::task_command_router::{TaskExecStdioFileDescriptor, TaskExecStdioReadRequest, TaskExecStdioReadResponse};

const DOING: &str = "reading a program's output";

/// A stream that was open for so long was a good one, whether anything came or not.
const LONG: Duration = Duration::from_secs(30);

/// What a program prints, as it prints it, to its end. It is asked for when it is first read; what is not read waits at Modal.
///
/// It reads every byte once, whatever becomes of the connection. An [`io::Error`] has the [`Error`] in it. As a [`Stream`] it gives it in chunks, cut anywhere.
pub struct Output(
    /// Never locked: it is read through `&mut`. That it could be makes it `Sync`, which the stream of an answer is not.
    Mutex<StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>>,
);

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Output").finish()
    }
}

impl Output {
    pub(crate) fn new(router: Arc<Router>, exec_id: String, descriptor: TaskExecStdioFileDescriptor, offset: u64) -> Self {
        let reading = Reading { router, exec_id, descriptor, offset, stream: None, has_ended: false };
        Self(Mutex::new(StreamReader::new(futures_util::stream::unfold(reading, Reading::next).fuse().boxed())))
    }
}

impl AsyncRead for Output {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().0.get_mut()).poll_read(context, buffer)
    }
}

impl Stream for Output {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        use tokio::io::AsyncBufRead as _;

        let mut reader = Pin::new(self.get_mut().0.get_mut());
        let chunk = match std::task::ready!(reader.as_mut().poll_fill_buf(context)) {
            Ok(chunk) => Bytes::copy_from_slice(chunk),
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        reader.consume(chunk.len());
        Poll::Ready((!chunk.is_empty()).then_some(Ok(chunk)))
    }
}

struct Reading {
    router: Arc<Router>,
    exec_id: String,
    descriptor: TaskExecStdioFileDescriptor,
    /// The byte that comes next.
    offset: u64,
    stream: Option<Streaming<TaskExecStdioReadResponse>>,
    has_ended: bool,
}

impl Reading {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if self.has_ended {
            return None;
        }
        let chunk = self.chunk().await.transpose()?;
        self.has_ended = chunk.is_err();
        Some((chunk.map_err(io::Error::from), self))
    }

    /// The next chunk, and `None` at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let router = Arc::clone(&self.router);
        // How often it may break off in a row: each chunk begins that anew.
        let mut recovery = Recovery::new(&router, DOING);
        let mut opened = self.stream.is_some().then(Instant::now);
        loop {
            let access = router.access();
            let message = match &mut self.stream {
                Some(stream) => stream.message().await,
                none => {
                    let request = TaskExecStdioReadRequest {
                        task_id: router.task_id().to_owned(),
                        exec_id: self.exec_id.clone(),
                        offset: self.offset,
                        file_descriptor: self.descriptor.into(),
                    };
                    opened = Some(Instant::now());
                    match router.stream(&access, request, rpc!(task_exec_stdio_read)).await {
                        Ok(stream) => none.insert(stream).message().await,
                        Err(status) => Err(status),
                    }
                }
            };
            match message {
                Ok(Some(TaskExecStdioReadResponse { data })) if data.is_empty() => {}
                Ok(Some(TaskExecStdioReadResponse { data })) => {
                    self.offset += data.len() as u64;
                    return Ok(Some(data));
                }
                Ok(None) => {
                    self.has_ended = true;
                    return Ok(None);
                }
                Err(status) => {
                    self.stream = None;
                    if opened.is_some_and(|opened: Instant| opened.elapsed() > LONG) {
                        // A program that prints nothing for long has its connections cut now and then.
                        recovery.succeeded();
                    }
                    opened = None;
                    recovery.after(&access, status).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Process;

    #[test]
    fn a_program_and_its_streams_can_be_shared_among_threads() {
        fn is_shared<T: Send + Sync + Unpin + 'static>() {}

        is_shared::<Output>();
        is_shared::<Process>();
    }
}
