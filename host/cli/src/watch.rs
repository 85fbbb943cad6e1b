//! `agent-host watch`: follows a session of a running host, a JSON frame a line.

use std::io::Write as _;

use anyhow::{Context as _, anyhow, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// Prints what the host at `url` (such as `http://127.0.0.1:7878`) tells of the session, until either end closes the connection.
pub async fn watch(url: &str, session: &str, key: Option<&str>) -> anyhow::Result<()> {
    let Some(rest) = url.strip_prefix("http://") else { bail!("invalid URL {url:?}: it must begin with http://") };
    let mut request =
        format!("ws://{}/ws", rest.trim_end_matches('/')).into_client_request().with_context(|| format!("invalid URL {url:?}"))?;
    if let Some(key) = key {
        let mut header = HeaderValue::from_str(&format!("Bearer {key}")).context("the key is no text that a header can hold")?;
        header.set_sensitive(true);
        request.headers_mut().insert("authorization", header);
    }
    let (mut socket, _) =
        tokio_tungstenite::connect_async(request).await.map_err(|error| anyhow!("failed to connect to {url}: {error}"))?;
    let join = serde_json::json!({"type": "session:join", "id": "watch", "sessionId": session});
    socket.send(Message::text(join.to_string())).await.context("failed to join the session")?;
    let mut output = std::io::stdout();
    while let Some(frame) = socket.next().await {
        match frame.context("the connection broke off")? {
            Message::Text(text) if text.contains(r#""success":false"#) && text.contains(r#""id":"watch""#) => {
                bail!("the host refused: {text}")
            }
            Message::Text(text) if writeln!(output, "{text}").and_then(|()| output.flush()).is_ok() => {}
            // Whoever reads our output has gone.
            Message::Text(_) | Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}
