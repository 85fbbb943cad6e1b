//! Settings that are one of a few words.

use super::error::Error;
use super::node::Node;
use super::read::{Context, Read, refuse, text};
use super::setting::Shape;

/// Defines an enumeration that is written as a word.
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        $name:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $word:literal, )+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl Read for $name {
            const SHAPE: Shape = Shape::Text;

            fn type_name() -> String {
                [$(concat!("`\"", $word, "\"`")),+].join(" or ")
            }

            fn read(node: &Node, _context: &Context<'_>) -> Result<Self, Error> {
                let expected = [$(concat!("\"", $word, "\"")),+].join(" or ");
                match text::<Self>(node, &expected)? {
                    $( $word => Ok(Self::$variant), )+
                    _ => Err(refuse::<Self>(node, format!("expected {expected}"))),
                }
            }
        }
    };
}

choice! {
    /// What the host's own log looks like.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// A JSON object a line.
        Json = "json",
    }
}

choice! {
    /// Which component a start begins with.
    OnStart {
        /// The one that was swapped in last.
        Last = "last",
        /// The one that is configured.
        Configured = "configured",
    }
}

choice! {
    /// With which event a hook begins.
    Begin {
        /// With the next.
        End = "end",
        /// With the oldest that is kept.
        Start = "start",
    }
}

choice! {
    /// Where sandboxes are made.
    Provider {
        /// On this machine.
        Local = "local",
        /// In the cloud, at Modal.
        Modal = "modal",
    }
}

choice! {
    /// What becomes of a turn in whose middle the host was killed.
    InterruptedTurn {
        /// It has ended, and the conversation says so.
        Report = "report",
        /// The agent gets its message again, once.
        Resume = "resume",
    }
}

choice! {
    /// What programs in a sandbox can reach.
    Network {
        /// Everything.
        Open = "open",
        /// Nothing: not even the model's API.
        Blocked = "blocked",
    }
}

choice! {
    /// How far an agent on this machine is kept from the rest of it.
    Isolation {
        /// By bubblewrap where it works; otherwise by nothing but directories of its own, which the host warns of at its start.
        Auto = "auto",
        /// By bubblewrap, or the host does not start.
        Required = "required",
        /// By nothing but directories of its own.
        None = "none",
    }
}
