//! Changing a session's options.

use serde_json::Value;

use super::{Reply, Task, Then};
use crate::event::Event;
use crate::manager::Error;
use crate::record::{Options, RecordChanges, StreamName};
use crate::recorder::Write;

impl Task {
    pub(super) fn update_options(&mut self, patch: Options, reply: Reply<Options>) {
        if let Err(error) = self.can_write() {
            drop(reply.send(Err(error)));
            return;
        }
        let mut options = self.options.clone();
        merge_patch(&mut options, patch);
        let checked = self.context.settings.check_options(&options).and_then(|()| match self.architecture() {
            Some(architecture) => architecture.check_options(&options).map_err(|error| Error::Invalid(error.to_string())),
            None => Ok(()),
        });
        if let Err(error) = checked {
            drop(reply.send(Err(error)));
            return;
        }
        self.repair();
        self.options.clone_from(&options);
        let data = self.record_lines(&[Event::OptionsUpdated { options: options.clone() }]);
        self.recorder.push(Write::Append { stream: StreamName::Events, data }, None);
        let changes = RecordChanges { options: Some(options.clone()), ..RecordChanges::default() };
        self.recorder.push(Write::Update { changes }, Some(Then::OptionsUpdated { options, reply }));
    }
}

/// JSON merge patch (RFC 7396) for an object: `null` removes, objects are merged, everything else replaces.
fn merge_patch(target: &mut Options, patch: Options) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(patch) => {
                let slot = target.entry(key).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Options::new());
                }
                if let Value::Object(target) = slot {
                    merge_patch(target, patch);
                }
            }
            value => {
                target.insert(key, value);
            }
        }
    }
}
