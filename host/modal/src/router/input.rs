//! What a program is given to read: every write says from which byte on it is, so that one which may have been lost is made again.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use tonic::{Code, Status};

use super::{Failed, Recovery, Router};
use crate::Error;
use crate::client::rpc;
use crate::proto::task_command_router::task_exec_stdin_write_stream_request::Payload;
use crate::proto::task_command_router::{
    TaskExecStdinStatusRequest, TaskExecStdinWriteRequest, TaskExecStdinWriteStreamEnd, TaskExecStdinWriteStreamRequest,
    TaskExecStdinWriteStreamStart,
};

const DOING: &str = "writing a program's input";

/// The most that one call writes, and that one [`AsyncWrite::poll_write`] takes.
const WRITE_BYTES: usize = 1024 * 1024;

/// How many writes may wait.
const QUEUE: usize = 4;

/// The pieces in which an upload is sent.
const UPLOAD_BYTES: usize = 256 * 1024;

/// Bytes a second below which an upload is taken for one that does not go on.
const SLOWEST_UPLOAD: u64 = 64 * 1024;

/// A program's input. Writes are sent in the background; flush to know that they have arrived. Shutting it down, or dropping it, ends the input after what was written.
///
/// A program that does not read its input any more is an [`io::ErrorKind::BrokenPipe`].
pub struct Stdin {
    orders: PollSender<Order>,
    failure: Arc<Mutex<Option<Error>>>,
    /// A flush that is under way. It tells nothing of what is written after it.
    flushing: Option<oneshot::Receiver<()>>,
    /// The end that is under way.
    ending: Option<oneshot::Receiver<()>>,
    was_used: bool,
    has_ended: bool,
    router: Arc<Router>,
    exec_id: String,
}

enum Order {
    Write(Bytes),
    Flush(oneshot::Sender<()>),
    End(oneshot::Sender<()>),
    /// Nothing more comes, and the input is left as it is.
    Abandon,
}

impl fmt::Debug for Stdin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stdin").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

impl Stdin {
    pub(crate) fn new(router: Arc<Router>, exec_id: String) -> Self {
        let (orders, queue) = mpsc::channel(QUEUE);
        let failure = Arc::default();
        let writer = Writer { router: Arc::clone(&router), exec_id: exec_id.clone(), offset: 0, failure: Arc::clone(&failure) };
        tokio::spawn(writer.run(queue));
        Self { orders: PollSender::new(orders), failure, flushing: None, ending: None, was_used: false, has_ended: false, router, exec_id }
    }

    /// Sends the whole input and ends it, in one stream that goes on where it was after it has broken off: the quick way for what is in memory.
    ///
    /// # Errors
    /// [`Error::Invalid`] if something was written before, [`Error::InputClosed`] if the program does not want all of it, and those of every call. After an error, or if
    /// this is dropped, the input ends where it is.
    pub async fn send_all(self, data: impl Into<Bytes>) -> Result<(), Error> {
        if self.was_used {
            return Err(Error::Invalid { doing: DOING, reason: "something was written before".to_owned() });
        }
        let unended = Unended { router: Arc::clone(&self.router), exec_id: self.exec_id.clone(), is_armed: true };
        self.abandon();
        let sent = upload(&unended.router, &unended.exec_id, &data.into()).await;
        if matches!(sent, Ok(()) | Err(Error::InputClosed | Error::Ended { .. })) {
            unended.disarm();
        }
        sent
    }

    /// Leaves the input open and unused.
    pub(crate) fn abandon(mut self) {
        if let Some(orders) = self.orders.get_ref() {
            // The queue is empty.
            let _ = orders.try_send(Order::Abandon);
        }
        self.has_ended = true;
    }

    fn failed(&self) -> io::Error {
        let error = self.failure.lock().take();
        // Whoever asks a second time knows why already.
        error.unwrap_or(Error::InputClosed).into()
    }

    /// Sends an order that is answered, unless that was done, and waits for the answer.
    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        waiting: fn(&mut Self) -> &mut Option<oneshot::Receiver<()>>,
        order: fn(oneshot::Sender<()>) -> Order,
    ) -> Poll<io::Result<()>> {
        if waiting(self).is_none() {
            if ready!(self.orders.poll_reserve(context)).is_err() {
                return Poll::Ready(Err(self.failed()));
            }
            let (sender, receiver) = oneshot::channel();
            if self.orders.send_item(order(sender)).is_err() {
                return Poll::Ready(Err(self.failed()));
            }
            *waiting(self) = Some(receiver);
        }
        // Whoever was to answer may have ended before the order came.
        let is_over = self.orders.get_ref().is_none_or(mpsc::Sender::is_closed);
        let Some(receiver) = waiting(self).as_mut() else { return Poll::Ready(Ok(())) };
        let answer = match Pin::new(receiver).poll(context) {
            Poll::Ready(answer) => answer.is_ok(),
            Poll::Pending if is_over => false,
            Poll::Pending => return Poll::Pending,
        };
        *waiting(self) = None;
        Poll::Ready(if answer { Ok(()) } else { Err(self.failed()) })
    }
}

/// An input that was begun by an upload. Dropped, it ends where it is: a program that waits for more would run for as long as its sandbox.
struct Unended {
    router: Arc<Router>,
    exec_id: String,
    is_armed: bool,
}

impl Unended {
    /// There is nothing left to be ended.
    fn disarm(mut self) {
        self.is_armed = false;
    }
}

impl Drop for Unended {
    fn drop(&mut self) {
        if !self.is_armed {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (router, exec_id) = (Arc::clone(&self.router), self.exec_id.clone());
        runtime.spawn(async move {
            let (task_id, exec) = (router.task_id().to_owned(), exec_id.clone());
            let request = TaskExecStdinStatusRequest { task_id, exec_id: exec };
            let Ok(state) = router.call(DOING, None, request, rpc!(task_exec_stdin_status)).await else { return };
            let (task_id, offset) = (router.task_id().to_owned(), state.num_bytes_written);
            let request = TaskExecStdinWriteRequest { task_id, exec_id, offset, data: Bytes::new(), eof: true };
            // Nobody is there to be told.
            let _ = router.call(DOING, None, request, rpc!(task_exec_stdin_write)).await;
        });
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.flushing = None;
        if ready!(this.orders.poll_reserve(context)).is_err() {
            return Poll::Ready(Err(this.failed()));
        }
        let taken = buffer.len().min(WRITE_BYTES);
        let chunk = Bytes::copy_from_slice(buffer.get(..taken).unwrap_or_default());
        match this.orders.send_item(Order::Write(chunk)) {
            Ok(()) => {
                this.was_used = true;
                Poll::Ready(Ok(taken))
            }
            Err(_) => Poll::Ready(Err(this.failed())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(Ok(()));
        }
        this.poll_answer(context, |stdin| &mut stdin.flushing, Order::Flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(Ok(()));
        }
        let ended = ready!(this.poll_answer(context, |stdin| &mut stdin.ending, Order::End));
        this.has_ended = true;
        match ended {
            // The input of a program that reads none has ended as well.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(())),
            ended => Poll::Ready(ended),
        }
    }
}

/// Sends what is written.
struct Writer {
    router: Arc<Router>,
    exec_id: String,
    offset: u64,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Writer {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut next = orders.recv().await;
        loop {
            let mut data = BytesMut::new();
            // What waits goes together.
            while let Some(Order::Write(chunk)) =
                next.take_if(|order| matches!(order, Order::Write(chunk) if data.len() + chunk.len() <= WRITE_BYTES))
            {
                data.extend_from_slice(&chunk);
                next = match orders.try_recv() {
                    Ok(order) => Some(order),
                    Err(_) => break,
                };
            }
            if !data.is_empty() {
                if self.write(data.freeze(), false).await.is_err() {
                    return;
                }
                if next.is_none() {
                    next = orders.recv().await;
                }
                continue;
            }
            match next.take() {
                Some(Order::Write(_)) => {}
                Some(Order::Flush(done)) => drop(done.send(())),
                Some(Order::Abandon) => return,
                Some(Order::End(done)) => {
                    if self.write(Bytes::new(), true).await.is_ok() {
                        // Whoever asked may have gone.
                        let _ = done.send(());
                    }
                    return;
                }
                None => {
                    let _ = self.write(Bytes::new(), true).await;
                    return;
                }
            }
            next = orders.recv().await;
        }
    }

    async fn write(&mut self, data: Bytes, eof: bool) -> Result<(), ()> {
        let length = data.len() as u64;
        let request = TaskExecStdinWriteRequest {
            task_id: self.router.task_id().to_owned(),
            exec_id: self.exec_id.clone(),
            offset: self.offset,
            data,
            eof,
        };
        loop {
            match self.router.call(DOING, None, request.clone(), rpc!(task_exec_stdin_write)).await {
                Ok(_) => {
                    self.offset += length;
                    return Ok(());
                }
                // The program may read on later.
                Err(Failed { code: Code::DeadlineExceeded, error: Error::Unavailable { .. } }) => {}
                Err(failed) => {
                    *self.failure.lock() = Some(input_error(failed));
                    return Err(());
                }
            }
        }
    }
}

/// Why input was not taken.
fn input_error(failed: Failed) -> Error {
    match failed {
        Failed { error: error @ Error::Ended { .. }, .. } => error,
        Failed { code: Code::FailedPrecondition | Code::Aborted, .. } => Error::InputClosed,
        Failed { error, .. } => error,
    }
}

/// Writes the whole input of a program and ends it, in one stream, which goes on where it was after it has broken off.
async fn upload(router: &Router, exec_id: &str, data: &Bytes) -> Result<(), Error> {
    let mut recovery = Recovery::new(router, DOING);
    let mut offset = 0;
    loop {
        let access = router.access();
        let start = TaskExecStdinWriteStreamStart { task_id: router.task_id().to_owned(), exec_id: exec_id.to_owned(), offset };
        let rest = usize::try_from(offset).ok().filter(|offset| *offset <= data.len()).map(|offset| data.slice(offset..));
        let rest = rest.ok_or_else(|| Error::protocol(DOING, format!("{offset} bytes were taken of {}", data.len())))?;
        let rest_bytes = rest.len() as u64;
        let pieces = (0..rest.len()).step_by(UPLOAD_BYTES).map({
            let rest = rest.clone();
            move |from| Payload::Data(rest.slice(from..(from + UPLOAD_BYTES).min(rest.len())))
        });
        let payloads = std::iter::once(Payload::Start(start)).chain(pieces).chain([Payload::End(TaskExecStdinWriteStreamEnd {})]);
        let messages = payloads.map(|payload| TaskExecStdinWriteStreamRequest { payload: Some(payload) });
        let request = access.authorize(tokio_stream::iter(messages));
        let limit = router.try_timeout().saturating_add(Duration::from_secs(rest_bytes / SLOWEST_UPLOAD));
        let status = match tokio::time::timeout(limit, access.stub.clone().task_exec_stdin_write_stream(request)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("no answer"),
        };
        if matches!(status.code(), Code::FailedPrecondition | Code::Aborted) {
            return Err(Error::InputClosed);
        }
        recovery.after(&access, status).await?;
        let request = TaskExecStdinStatusRequest { task_id: router.task_id().to_owned(), exec_id: exec_id.to_owned() };
        let state = router.call(DOING, None, request, rpc!(task_exec_stdin_status)).await.map_err(input_error)?;
        if state.closed {
            // Only the answer was lost, or the program did not want more.
            return if state.num_bytes_written == data.len() as u64 { Ok(()) } else { Err(Error::InputClosed) };
        }
        if state.num_bytes_written > offset {
            recovery.succeeded();
        }
        offset = state.num_bytes_written;
    }
}
