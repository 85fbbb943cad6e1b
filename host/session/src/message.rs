//! What a user says.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::hex;
use crate::id::MessageId;

/// A message to the agent: plain text, or parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Plain text; JSON has it as a string.
    Text(String),
    /// Texts and images; JSON has them as a list.
    Parts(Vec<Part>),
}

/// A part of a message, in the form of the Anthropic Messages API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// Where its bytes are.
        source: ImageSource,
    },
}

/// Where the bytes of an image are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ImageSource {
    /// Here.
    Base64 {
        /// For example `image/png`.
        media_type: String,
        /// The bytes, in standard base64.
        data: String,
    },
}

impl Content {
    /// Whether there is nothing in it for an agent to answer.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.trim().is_empty(),
            Self::Parts(parts) => parts.iter().all(|part| match part {
                Part::Text { text } => text.trim().is_empty(),
                Part::Image { .. } => false,
            }),
        }
    }

    /// About how many bytes of memory it holds.
    pub fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    Part::Text { text } => text.len(),
                    Part::Image { source: ImageSource::Base64 { data, .. } } => data.len(),
                })
                .sum(),
        }
    }

    /// SHA-256 of its JSON, as 64 lower-case hexadecimal digits.
    pub fn digest(&self) -> String {
        // Writing into memory what has no maps in it cannot fail.
        hex::encode(&Sha256::digest(serde_json::to_vec(self).unwrap_or_default()))
    }

    /// All text in it, parts joined by newlines.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => {
                let texts: Vec<&str> = parts
                    .iter()
                    .filter_map(|part| match part {
                        Part::Text { text } => Some(text.as_str()),
                        Part::Image { .. } => None,
                    })
                    .collect();
                texts.join("\n")
            }
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Parts(parts) => parts.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(parts)).map(Content::Parts)
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

/// A message with the id that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Chosen by the client, or by the host where the client did not.
    pub id: MessageId,
    /// What was said, to the agent and in the conversation.
    pub content: Content,
    /// The [digest](Content::digest) of what the client had sent, if a hook put the content in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_digest: Option<String>,
}

impl Message {
    /// A message whose content is the client's own.
    pub fn new(id: MessageId, content: Content) -> Self {
        Self { id, content, sent_digest: None }
    }

    /// With another content than the client's.
    pub fn replaced(self, content: Content) -> Self {
        let sent_digest = Some(self.sent_digest.unwrap_or_else(|| self.content.digest()));
        Self { id: self.id, content, sent_digest }
    }
}

/// Whether clients sent the same with both, whatever hooks made of it.
pub(crate) fn is_same(content: &Content, sent_digest: Option<&str>, other: &Message) -> bool {
    match (sent_digest, other.sent_digest.as_deref()) {
        (None, None) => *content == other.content,
        (Some(one), None) => one == other.content.digest(),
        (None, Some(other)) => content.digest() == other,
        (Some(one), Some(other)) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_a_string_or_a_list_of_parts() {
        let text: Content = serde_json::from_str(r#""hello""#).unwrap();
        assert_eq!(text, Content::Text("hello".into()));
        let json = r#"[{"type":"text","text":"see"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}]"#;
        let parts: Content = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&parts).unwrap(), json);
        for wrong in ["1", "null", "{}", r#"[{"type":"video"}]"#, r#"[{"type":"text"}]"#] {
            assert!(serde_json::from_str::<Content>(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn a_message_is_known_again_by_what_was_sent() {
        let message = |text: &str| Message::new(MessageId::new("m").unwrap(), Content::Text(text.into()));
        let same = |one: &Message, other: &Message| is_same(&one.content, one.sent_digest.as_deref(), other);
        let replaced = message("sent").replaced(Content::Text("kept".into()));
        let (again, other) = (message("sent").replaced(Content::Text("else".into())), message("other"));
        assert!(same(&replaced, &message("sent")) && same(&message("sent"), &replaced) && same(&replaced, &again));
        assert!(!same(&replaced, &message("kept")) && !same(&message("kept"), &replaced) && !same(&replaced, &other));
        assert_eq!(replaced.clone().replaced(Content::Text("twice".into())).sent_digest, replaced.sent_digest);
    }
}
