//! A hook that does what it is told. The configuration says what it is: `name`, `events` and `decides`, separated by commas, `deny-on-failure`, and whether all
//! deliveries of events are to fail (`fails`). What it is
//! asked about says what it does: the text of a message, the `do` of a session's options and of a tool's input, the data of an event.

use std::time::Duration;

use agent_host_hook::{
    Config, Decisions, Error, Event, Hook, HookInfo, MessageDraft, Result, SessionDraft, ToolDraft, Verdict, control, export_hook, http,
};

struct Obedient {
    info: HookInfo,
    /// What it adds when it is told to `append`.
    mark: String,
    fails: bool,
}

export_hook!(Obedient);

fn trap() -> ! {
    panic!("as told")
}

/// A word and what follows it.
fn split(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// Says what came of something, as the reason of a denial.
fn told<T: std::fmt::Debug>(result: Result<T>) -> Result<Verdict> {
    Ok(Verdict::Deny(format!("{result:?}")))
}

impl Obedient {
    /// Decides as the order says. `json` is what it is asked about, `order` the part of it that is an order.
    fn decide(&self, session: &str, order: &str, json: &str) -> Result<Verdict> {
        let (verb, rest) = split(order);
        match verb {
            "deny" => Ok(Verdict::Deny(rest.to_owned())),
            "append" => Ok(Verdict::Replace(json.replacen(order, &format!("{order} {}", self.mark), 1))),
            "rubbish" => Ok(Verdict::Replace("{not: json".to_owned())),
            "trap" => trap(),
            "sleep" => {
                std::thread::sleep(Duration::from_secs(3600));
                Ok(Verdict::Allow)
            }
            "error" => Err(Error::other("as told")),
            "fetch" => told(http::fetch(http::Request::get(rest)).map_err(Error::from)),
            "get-session" => told(control::get_session(rest)),
            "send" => told(control::send_message(session, "from-hook", rest)),
            "interrupt" => told(control::interrupt(session)),
            "set-metadata" => told(control::set_metadata(session, "key", rest)),
            "note" => told(control::note(session, rest)),
            "emit" => told(control::emit(session, "done", rest)),
            _ => Ok(Verdict::Allow),
        }
    }
}

/// The order in a JSON object: the text of its `do`.
fn order(json: &str) -> &str {
    let rest = json.split_once(r#""do":""#).map_or("", |(_, rest)| rest);
    rest.split('"').next().unwrap_or_default()
}

impl Hook for Obedient {
    fn open(config: &Config) -> Result<Self> {
        if config.get("fail").is_some() {
            return Err(Error::invalid("told to fail"));
        }
        let list = |key: &str| config.get(key).map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_else(Vec::new);
        let mut info = HookInfo::new(config.get("name").unwrap_or("obedient"), "1.2.3").wants(list("events"));
        for decision in list("decides") {
            info = info.decides(match decision.as_str() {
                "sessions" => Decisions::BEFORE_SESSION,
                "messages" => Decisions::BEFORE_MESSAGE,
                "tools" => Decisions::BEFORE_TOOL_USE,
                other => return Err(Error::invalid(format!("no decision: {other}"))),
            });
        }
        if config.get("deny-on-failure").is_some() {
            info = info.denies_on_failure();
        }
        Ok(Self { info, mark: config.get("mark").unwrap_or_default().to_owned(), fails: config.get("fails").is_some() })
    }

    fn info(&self) -> HookInfo {
        self.info.clone()
    }

    fn on_events(&mut self, events: Vec<Event>) -> Result<()> {
        if self.fails {
            return Err(Error::unavailable("as configured"));
        }
        for event in events {
            match order(&event.data) {
                "trap" => trap(),
                "error" => return Err(Error::unavailable("as told")),
                "hoard" => std::mem::forget(std::hint::black_box(vec![1_u8; 40 * 1024 * 1024])),
                _ => control::emit(&event.session, &format!("seen:{}:{}:{}", event.name, event.epoch, event.seq), &event.data)?,
            }
        }
        Ok(())
    }

    fn before_session(&mut self, draft: SessionDraft) -> Result<Verdict> {
        self.decide("", order(&draft.options), &draft.options)
    }

    fn before_message(&mut self, draft: MessageDraft) -> Result<Verdict> {
        self.decide(&draft.session, draft.content.trim_matches('"'), &draft.content)
    }

    fn before_tool_use(&mut self, draft: ToolDraft) -> Result<Verdict> {
        self.decide(&draft.session, order(&draft.input), &draft.input)
    }
}
