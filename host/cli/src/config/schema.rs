//! The settings themselves: each with its type, its default, what it does, and why the default is what it is.
//!
//! In these structs a `u64` is a size in bytes, a `usize` a number of things, and a path is absolute if the working directory is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent_host_api::Origin;
use agent_host_wasm::grants::{HttpRule, NetworkRule};

use super::choice::{Begin, InterruptedTurn, Isolation, LogFormat, Network, OnStart, Provider};
use super::database::Database;
use super::grant::{Component, Directory, HookComponent};
use super::hook::HookName;
use super::registry::Login;
use super::secret::{ApiKey, Secret};
use super::setting::section;
use super::telemetry::{Endpoint, Ratio};

section! {
    /// The host itself.
    Config in "" {
        /// Where the host listens: an IP address and a port. Any other than a loopback address needs `auth.api_keys`.
        listen: SocketAddr = "127.0.0.1:7878"
            because "what runs programs for whoever can reach it is reachable from this machine only, until there are keys";
        /// Where the host keeps what is its own: the database, compiled components, sandboxes.
        data_dir: PathBuf = "agent-host-data"
            because "a first try needs no rights beyond the directory it is started in, and leaves everything in one place";
        /// What the log on standard error looks like: lines for people or JSON for machines.
        log_format: LogFormat = "text" because "a terminal is where the host is first seen";
        /// Event hooks, a table `[[hooks]]` each, in the order in which they are asked.
        hooks: Vec<Hook> = [] because "a host does its work without any";
    } with {
        /// Who may use the API.
        auth: Auth;
        /// The persistence component.
        persistence: Persistence;
        /// What loaded sessions write while the persistence component is away.
        journal: Journal;
        /// Whether other hosts share the store.
        leases: Leases;
        /// How components are exchanged while the host runs.
        components: Components;
        /// What event hooks have still to be told of.
        events: Events;
        /// Where agents run.
        sandbox: Sandbox;
        /// The agent programs.
        agents: Agents;
        /// How sessions live.
        session: Session;
        /// What bounds the host's memory and work.
        limits: Limits;
        /// Agent profiles from files.
        profiles: Profiles;
        /// Traces.
        telemetry: Telemetry;
    }
}

section! {
    /// Who may use the API.
    Auth in "auth" {
        /// Keys that clients show as `Authorization: Bearer KEY`. Each is a reference to an environment variable of the host or to a file;
        /// the key itself is refused here.
        /// Without any, everybody who reaches the host may use it.
        api_keys: Vec<ApiKey> = [] because "a first try needs no key, since the host then listens on loopback only";
        /// Keys for the admin calls (`/admin/…`), which exchange components. Each is a reference, like those above. Without any, the host makes one for those
        /// who may read its data directory: `admin-key` in `data_dir`, where the commands of `agent-host` find it.
        admin_keys: Vec<ApiKey> = [] because "whoever may read the data directory has all that the host has";
        /// Origins whose web pages may use the API, besides the host's own.
        allowed_origins: Vec<Origin> = []
            because "a page from anywhere could otherwise use a host that listens on the visitor's own machine";
    }
}

section! {
    /// The WebAssembly component that stores sessions, and how it runs.
    Persistence in "persistence" {
        /// Which component stores everything: a built-in one, the path of your own, or one in an OCI registry.
        component: Component = "sqlite" because "it is durable and needs nothing installed";
        /// What the component is told when it is opened. Its values are shown to it and by `check-config`: no place for secrets.
        config: BTreeMap<String, String> = {} because "the built-in components need none";
    } with {
        /// What the component may use.
        grants: Grants;
        /// How much of it.
        limits: ComponentLimits;
    }
}

section! {
    /// What loaded sessions write while the persistence component is away: it fails, hangs, or its database restarts. It is kept on disk, in `data_dir`, counts as stored, and is given to
    /// the component in order when it is back.
    Journal in "journal" {
        /// Bytes that may wait. Beyond it, writes are refused (503) and what runs waits.
        max: u64 = "1 GiB" because "it is an hour of a thousand busy sessions, and leaves room on a small disk";
        /// Whether a write is brought to the disk (fsync) before it counts as stored.
        fsync: bool = true because "what was acknowledged is not lost, neither with the process nor with the machine's power";
    }
}

section! {
    /// For several hosts on one store: each takes a session before it writes to it, and the others say where it is (409, `SESSION_OWNED`). The persistence component must keep leases, as
    /// `sqlite` does. A write then counts as stored only when the component has it, since no other host knows this one's journal.
    Leases in "leases" {
        /// Where clients reach this host: `https://HOST:PORT`. With it, the host takes leases.
        address: Option<Origin> = none because "a host that is alone on its store needs none";
        /// How long a session stays taken by a host that is gone. It is prolonged every third of it.
        ttl: Duration = "30s" because "a host that pauses or loses its network for some seconds keeps its sessions";
    }
}

section! {
    /// What the persistence component may use. What is not granted does not exist for it.
    Grants in "persistence.grants" {
        /// Databases by the name that the component opens them by. For `sqlite` the default is `main`, which is `agent-host.db` in
        /// `data_dir`.
        databases: BTreeMap<String, Database> = {} because "a component of one's own may need none";
        /// Directories, read-only unless `write` is true.
        dirs: Vec<Directory> = [] because "a component can only do what it was granted";
        /// What the component may connect to by TCP: `HOST:PORT`, where the host is a name, `*.example.org`, an address or a range such as `10.0.0.0/8`, and the port
        /// a number, a range such as `8000-8010`, or `*`. A name opens no private address, unless a rule names that address, too.
        net: Vec<NetworkRule> = [] because "a component can only do what it was granted";
        /// What the component may fetch through the host: URLs such as `https://api.example.org/v1/*`.
        http: Vec<HttpRule> = [] because "a component can only do what it was granted";
        /// The component's environment variables.
        env: BTreeMap<String, Secret> = {} because "a component can only do what it was granted";
    }
}

section! {
    /// How much of the host's memory, time and tables the persistence component may use. What is too much fails in the component, or ends the call and its instance; the
    /// rest of the host does not notice.
    ComponentLimits in "persistence.limits" {
        /// Memory that an instance may use, all its memories and tables together.
        memory: u64 = "256 MiB"
            because "it holds the largest file and batch many times over, and the whole pool still fits into a small server";
        /// Instances of the component, each of which answers one call at a time. A persistence component that wants to be alone gets one; of a hook these are the
        /// instances that decide, beside the one that is told of events.
        instances: usize = 8
            because "calls wait for the disk more than for a processor; beyond that many they wait for each other inside the database";
        /// How long a call may take, waiting included, before the instance is given up and replaced.
        call_timeout: Duration = "10s" because "it is far above what a slow disk needs, and a client still waits for the answer";
        /// How long a call may compute, of its time.
        cpu_timeout: Duration = "5s" because "an honest call computes for milliseconds and waits for its database";
        /// How long a call waits until an instance is free for it. A question to a hook waits as long as it may take in all.
        queue_timeout: Duration = "10s" because "a burst is worked off by then; whoever waits longer is told";
        /// How long an instance may take to be made and opened.
        open_timeout: Duration = "2m" because "the first one may have to bring a schema up to date";
        /// What the component may write to the log in a minute, all instances together.
        log: u64 = "256 KiB" because "it is more than anybody reads, and does not fill a disk soon";
        /// What an instance may give the host in one call as arguments of the host's functions (wasmtime's "hostcall fuel").
        arguments: u64 = "64 MiB" because "it is the largest line of a transcript with its copies in one batch";
        /// Files, sockets, streams, results and transactions that an instance may have open at once.
        resources: usize = 500 because "it is many times what an honest one needs, and each may be one of the 1,024 open files of a process";
        /// Random bytes that an instance may ask for at once.
        random: u64 = "1 MiB" because "a seed takes 32 bytes, and what is asked for is made in the host's memory";
        /// Body of an HTTP request that the host makes for the component.
        http_request: u64 = "8 MiB" because "it is a batch of events, held in the host and in the component at once";
        /// Body of the response to one.
        http_response: u64 = "8 MiB" because "it is a page of an API, held in the host and in the component at once";
        /// Headers of such a request, and of a response.
        http_headers: usize = 100 because "servers take about as many";
        /// Size of all those headers.
        http_header_bytes: u64 = "32 KiB" because "servers take about as much";
        /// How long such a request may take, redirects and body included; four fifths of `call_timeout` at most.
        http_timeout: Duration = "8s" because "an API that takes longer is not well, and the component shall see that it failed";
    }
}

section! {
    /// An event hook: a component that is told of what happens to sessions, and decides on sessions, messages and uses of tools before they happen.
    Hook in "hooks" {
        /// What the hook is called in this host: 1 to 128 characters out of `A-Z a-z 0-9 . _ -`, not beginning with a dot. Events and metadata that come from it carry the
        /// name, and its place in the events belongs to it.
        name: HookName = none because "one component can be there twice, so every hook is named";
        /// Its component.
        component: HookComponent = none because "none ships with the host; `examples/hooks` has some";
        /// Whether it is at work. One that is not is asked nothing, and its events wait for it, once it has been at work and has said which.
        enabled: bool = true because "what is configured is meant to work";
        /// With which event it begins when it is there for the first time: with the next, or with the oldest that is kept.
        from: Begin = "end" because "what happened before was nobody's business then";
        /// What the component is told when it is opened. Its values are shown to it and by `check-config`: no place for secrets.
        config: BTreeMap<String, String> = {} because "what a hook needs is up to it";
        /// What the component may use, as in `[persistence.grants]`.
        grants: Grants = {} because "a component can only do what it was granted";
        /// How much of it, as in `[persistence.limits]`.
        limits: ComponentLimits = {} because "the same limits suit adapters and hooks";
        /// How long a decision may take, the wait for an instance included. After that the hook's own word for that case counts, allow or deny.
        decision_timeout: Duration = "2s"
            because "an honest decision takes milliseconds, one that asks a server some hundred; nobody likes to wait longer before each use of a tool";
        /// Events that are told together at most.
        batch_events: usize = 100 because "a call costs a hook about as much as the work on ten events";
        /// Size of events that are told together at most; one event may be larger.
        batch_bytes: u64 = "1 MiB" because "any receiver of a webhook takes such a body";
        /// How long the first event of a batch waits for more.
        batch_delay: Duration = "200ms" because "it is not felt where a hook reacts to what people do, and makes one batch of an agent's burst";
    }
}

section! {
    /// What event hooks have still to be told of. It is kept on disk, in `data_dir`, so that a hook that is slow, disabled or fails, and a host that was killed, lose none.
    Events in "events" {
        /// Events that may wait for one hook; beyond it the oldest are skipped. Each takes 24 bytes of memory.
        backlog: usize = 500000 because "it is an hour of five sessions that stream without pause";
        /// Size of the events that may wait for one hook; beyond it the oldest are skipped.
        backlog_bytes: u64 = "256 MiB" because "about so many deltas take it";
        /// Size of the events that are kept although all hooks have had them, for hooks that are added with `from = "start"`.
        keep_bytes: u64 = "64 MiB" because "it is enough to try a new hook on, and nothing to a disk";
        /// How long these are kept.
        keep_for: Duration = "168h" because "conversations are private: what nobody needs is not kept for ever on a host that has little to do";
    }
}

section! {
    /// How components are exchanged while the host runs.
    Components in "components" {
        /// Whether a component's file that changes on disk is swapped in.
        watch: bool = false because "a file that is copied to a server is not always meant to be in force at once";
        /// What a start begins with: the adapter and the hooks that operators left, or those that are configured.
        on_start: OnStart = "last" because "a restart must not undo what an operator did";
        /// Earlier generations that can be gone back to, of the adapter and of each hook.
        keep: usize = 5 because "whoever needs an older one has it elsewhere";
        /// How long the calls of a component that was replaced may go on.
        drain_timeout: Duration = "30s" because "it is longer than any call may take";
        /// First calls of a function of a new component that have to fail, all of them, until the one before it serves again.
        rollback_after: usize = 5 because "a database that restarts fails a call or two, a component that does not work all";
        /// For so long a new component can be rolled back by itself.
        probation: Duration = "10m" because "what does not work shows within minutes, and later on an operator should decide";
    } with {
        /// Components in OCI registries, `oci://HOST/REPOSITORY@sha256:DIGEST`, where the digest is that of the manifest. What was pulled once is kept in `data_dir`.
        registry: Registry;
    }
}

section! {
    /// Components in OCI registries, `oci://HOST/REPOSITORY@sha256:DIGEST`, where the digest is that of the manifest. What was pulled once is kept in `data_dir`.
    Registry in "components.registry" {
        /// Files with public keys, such as cosign's `cosign.pub`. Where there are any, what comes from a registry must be signed by one of them (`cosign sign --key`), also what was pulled before.
        signed_by: Vec<PathBuf> = [] because "the digest says already which component it is, and an operator has written it";
        /// Registries that are asked without TLS, such as `127.0.0.1:5000`.
        plain_http: Vec<String> = [] because "a registry for all the world has a certificate";
        /// Who the host is for registries that ask: `{ "ghcr.io" = { username = "acme", password = "env:REGISTRY_TOKEN" } }`. The password is shown to the server for tokens that the registry names.
        logins: BTreeMap<String, Login> = {} because "public components need none";
    }
}

section! {
    /// Where agents run.
    Sandbox in "sandbox" {
        /// Who makes sandboxes.
        provider: Provider = "local" because "it needs no account";
    } with {
        /// Sandboxes on this machine.
        local: Local;
        /// Sandboxes at Modal.
        modal: Modal;
    }
}

section! {
    /// Sandboxes on this machine.
    Local in "sandbox.local" {
        /// How far agents are kept from the rest of the machine: by bubblewrap where it works, by bubblewrap or not at all, or only by
        /// directories of their own.
        isolation: Isolation = "auto" because "the host runs everywhere, and says so clearly where it cannot isolate";
        /// Files and directories that agents may read, besides the system's and those of the agent program.
        readable: Vec<PathBuf> = [] because "everything else on the machine is none of the agent's business";
        /// Patterns, as in a `.gitignore`, of workspace files that are neither reported nor stored.
        ignore: Vec<String> = [
            ".git", ".hg", ".jj", ".svn",
            "node_modules/", ".venv/",
            "__pycache__/", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/",
            "target/",
            ".DS_Store", "*.swp"
        ] because "version control keeps its own, tools make the others again, and they are many times as large as what the agent wrote";
    }
}

section! {
    /// Sandboxes at Modal, whose token the host takes from where Modal's own programs do: `MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET`, or `~/.modal.toml`.
    Modal in "sandbox.modal" {
        /// The app at Modal that the sandboxes and images belong to. It is created if need be.
        app: String = "agent-host" because "it says there whose they are";
        /// What a sandbox begins with: an image of a registry, to which agents and packages are added, or the id (`im-…`) of one that is there and has the agents.
        image: String = "node:22-slim" because "agents and most MCP servers are Node programs";
        /// npm packages with the agent programs, with their versions.
        agents: Vec<String> = ["@anthropic-ai/claude-code@2.1.330"] because "it is the version that this host was tested with";
        /// How long a sandbox lives at most, up to 24 hours. Its session goes on in another one.
        lifetime: Duration = "24h" because "Modal gives no more";
        /// After how long without a running program Modal ends a sandbox. An agent is one, and so is the watch over its workspace: this is for sandboxes in which both have ended.
        idle_timeout: Duration = "15m" because "one that is of no use costs little then";
        /// Thousandths of a core that are set aside for a sandbox, which may use more if it is there.
        milli_cpu: usize = 500 because "an agent waits for its model most of the time";
        /// Memory that is set aside for a sandbox, which may use more if it is there.
        memory: u64 = "1 GiB" because "Claude takes some hundred megabytes, and its tools want room";
        /// What programs in a sandbox can reach.
        network: Network = "open" because "an agent has to reach its model";
        /// The only ranges of addresses that programs in a sandbox can reach, such as `10.0.0.0/8`, if there are any.
        cidrs: Vec<String> = [] because "which those are is for the operator to know";
        /// How many sandboxes are kept ready, which a session gets at once instead of waiting for its own: of the image without a profile's packages always, and of each
        /// other one for an hour from its last use.
        warm: u32 = 0 because "each costs as much as one that is used";
        /// How long a sandbox that no session uses is kept: after the host was killed, a session takes its own up again until then.
        orphan_grace: Duration = "10m" because "whoever waits for an answer has asked again by then";
        /// Patterns, as in a `.gitignore`, of workspace files that are neither reported nor stored.
        ignore: Vec<String> = [
            ".git", ".hg", ".jj", ".svn",
            "node_modules/", ".venv/",
            "__pycache__/", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/",
            "target/",
            ".DS_Store", "*.swp"
        ] because "version control keeps its own, tools make the others again, and they are many times as large as what the agent wrote";
    }
}

section! {
    /// The agent programs.
    Agents in "agents" {
    } with {
        /// Claude.
        claude_agent_sdk: ClaudeAgentSdk;
    } and {
        /// The built-in agent that needs no key and says what it hears. It has no settings.
        "agents.echo";
    }
}

section! {
    /// Claude, through the `claude` command.
    ClaudeAgentSdk in "agents.claude-agent-sdk" {
        /// The program: a name to look for in the `PATH`, or an absolute path.
        command: String = "claude" because "it is what its installers call it";
        /// Arguments that come before the host's own.
        args: Vec<String> = [] because "the host gives the program all that it needs";
        /// Environment variables that the program gets besides those of the profile; nothing else of the host's environment reaches it.
        /// A table given here takes the place of the default, which passes on `ANTHROPIC_API_KEY`, `ANTHROPIC_AUTH_TOKEN` and
        /// `ANTHROPIC_BASE_URL` where the host has them.
        env: BTreeMap<String, Secret> = {} because "the usual variables of the usual login just work";
    }
}

section! {
    /// How sessions live.
    Session in "session" {
        /// How long a session may be without work before its sandbox ends and it leaves the memory. The next message brings it back.
        idle_timeout: Duration = "15m" because "people come back within it, and a forgotten sandbox does not cost for long";
        /// How often a running turn is stored, besides at its end.
        sync_interval: Duration = "30s" because "it is how much of an agent's work may be lost with its machine";
        /// What becomes of a turn in whose middle the host was killed: it has ended and the conversation says so (`"report"`), or the agent gets its message again, once
        /// (`"resume"`).
        interrupted_turn: InterruptedTurn = "report" because "what the agent had done by then would be done again";
        /// How long running turns may go on after the host was told to stop. After it, everything is stored and the sandboxes end.
        shutdown_grace: Duration = "10s" because "orchestrators kill 30 s after they ask, and storing needs its part of that";
        /// How long a sandbox, and then the agent in it, may take to be ready without a sign of progress. Building an image is one.
        start_timeout: Duration = "60s" because "a cold start takes seconds; one that takes a minute does not come";
    }
}

section! {
    /// What bounds the host's memory and work. Sizes are like `10 MiB` or `512 KB`.
    Limits in "limits" {
        /// Body of a request.
        body: u64 = "16 MiB" because "the largest message fits, with the JSON around it escaped";
        /// Content of a message. At most `limits.body`.
        message: u64 = "8 MiB" because "the largest image that model APIs take, 5 MB, is 6.7 MB in base64";
        /// A session's options, as JSON.
        options: u64 = "64 KiB" because "they are in every list of sessions";
        /// Line that an agent prints; a longer one is skipped, which is told as an error (`LINE_TOO_LONG`).
        line: u64 = "32 MiB" because "agents print a whole tool result on a line, with files of 16 MB among them";
        /// Workspace file whose content is stored; a larger one is only reported.
        file: u64 = "10 MiB" because "a file is held in memory while it is stored, and source code is smaller";
        /// Files of a workspace that are kept; further ones are told as an error (`TOO_MANY_FILES`), and not stored.
        files: usize = 10000 because "a workspace with more holds a build directory, which is to be ignored";
        /// Component that is sent to be swapped in.
        component: u64 = "64 MiB" because "the largest, Python's, have 18 MB";
        /// Messages of a session that wait for their turn; a further one is refused.
        queue: usize = 100 because "a client that sends more before the first answer is in a loop";
        /// Sessions in memory at once; a further one is refused.
        sessions: usize = 1000 because "each may hold a process, a sandbox and limits.log_bytes";
        /// Connections at once, those of WebSockets and event streams included; a further one waits.
        connections: usize = 900 because "each takes one open file, of which a process often may have 1,024";
        /// Sessions that a connection may have joined at once.
        subscriptions: usize = 64 because "a window of an application shows a few sessions";
        /// Events of a loaded session that are kept for clients that come back.
        log_events: usize = 10000 because "a fast agent makes 5,000 a minute, and clients come back within two";
        /// Size of the events of a loaded session that are kept for clients that come back.
        log_bytes: u64 = "4 MiB" because "with it a thousand sessions fit into a server's memory, even if all are busy";
        /// Whether events beyond these are kept on disk, in `data_dir`, for clients that come back later, for as long as the session is loaded.
        log_archive: bool = true because "a client that lost its network for half an hour goes on where it was";
        /// Events of a loaded session that are kept on disk.
        log_archive_events: usize = 1000000 because "it is three hours of a fast agent; where in its files they are takes 200 KB of memory";
        /// Size of the events of a loaded session that are kept on disk.
        log_archive_bytes: u64 = "128 MiB" because "an hour of a fast agent takes 100 MB";
        /// How long events are kept on disk.
        log_archive_age: Duration = "1h" because "who was away for longer is served as well by a snapshot, and conversations are private";
        /// Size of the events that are kept on disk, of all sessions; beyond it the oldest go first.
        log_archive_total_bytes: u64 = "4 GiB" because "it is an hour of forty fast agents, and leaves most of a disk to the database and the sandboxes";
    }
}

section! {
    /// Agent profiles from files, besides those that are stored through the API and the built-in `default`.
    Profiles in "profiles" {
        /// A directory of `.json` and `.toml` files, one profile each, which are put into the store when the host starts.
        dir: Option<PathBuf> = none because "the built-in profile is enough to begin with";
        /// The directory with the projects of bundled MCP servers, which are copied into sandboxes: a profile's `localProjectPath` is in it, or relative to it.
        /// `node_modules` and the like are left out; all files of one may have 64 MiB, and at Modal a file 4 MiB.
        projects: Option<PathBuf> = none because "profiles come over the API, too, and must not name any file of the machine";
    }
}

section! {
    /// Traces by OpenTelemetry, which follow a message from its request to the end of its turn. They hold ids, names, sizes and outcomes, and nothing that was said.
    Telemetry in "telemetry" {
        /// Who takes them by OTLP over HTTP, in protobuf: a URL to which `/v1/traces` is added. Where it is not set, the standard variable `OTEL_EXPORTER_OTLP_ENDPOINT`
        /// counts. Headers, such as a key of the receiver, are given by `OTEL_EXPORTER_OTLP_HEADERS`.
        otlp_endpoint: Option<Endpoint> = none because "a host tells nobody what it does unless it is told to";
        /// What the host is called in traces.
        service_name: String = "agent-host" because "it is what it is; several hosts of one receiver want names of their own";
        /// Which part of the traces that begin here is sent. A request that comes as a part of a trace is decided on by its sender.
        sample_ratio: Ratio = 1.0 because "a turn costs a model's time and money, beside which its spans are nothing";
    }
}
