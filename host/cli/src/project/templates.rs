//! What projects are made of: files of this repository.

use super::{Kind, Language};

/// What a project is made of.
pub(super) struct Template {
    /// Paths in the project, and contents.
    pub(super) files: &'static [(&'static str, &'static [u8])],
    /// Texts that the project's name takes the place of, and in which form: `NAME` is the name.
    pub(super) placeholders: &'static [(&'static str, &'static str)],
    /// Where the project wants the contract.
    pub(super) wit: &'static str,
    /// What builds it, and the component that this makes. `NAME` is the name with underscores.
    pub(super) build: &'static str,
    pub(super) component: &'static str,
    /// Folders of the repository whose files it has, and where it has them.
    #[cfg(test)]
    pub(super) sources: &'static [(&'static str, &'static str)],
    /// Files of these folders that it has no use for.
    #[cfg(test)]
    pub(super) own: &'static [&'static str],
}

/// Files as they are named, and those of folders of the repository.
macro_rules! files {
    ($($path:literal = $file:literal),*; $($root:literal => $below:literal: $($name:literal),+;)+) => {
        &[
            $(($path, include_bytes!($file).as_slice()),)*
            $($((concat!($below, $name), include_bytes!(concat!("../../../../", $root, "/", $name)).as_slice())),+),+
        ]
    };
}

/// The SDKs are written against the folders of this repository.
const RUST_NAMES: &[(&str, &str)] = &[
    ("PROJECT", "NAME"),
    ("&str = \"sql\"", "&str = \"NAME\""),
    ("HookInfo::new(\"blocklist\"", "HookInfo::new(\"NAME\""),
    ("wit/0.1/hooks", "wit/deps/agent-host-hooks-0.1.0"),
    ("wit/0.1/http", "wit/deps/agent-host-http-0.1.0"),
    ("wit/0.1/logging", "wit/deps/wasi-logging-0.1.0-draft"),
    ("wit/0.1/persistence", "wit/deps/agent-host-persistence-0.1.0"),
    ("wit/0.1/sql", "wit/deps/agent-host-sql-0.1.0"),
    ("wit/0.1/types", "wit/deps/agent-host-types-0.1.0"),
];

const RUST_ADAPTER: Template = Template {
    files: files![
        "Cargo.toml" = "rust/adapter.toml", "README.md" = "rust/adapter.md", ".gitignore" = "rust/gitignore";
        "adapters/sql/src" => "src/": "lib.rs", "chunks.rs", "database.rs", "dialect.rs", "files.rs", "leases.rs", "profiles.rs", "schema.rs", "sessions.rs", "streams.rs";
        "adapters/sdk" => "vendor/agent-host-adapter/": "Cargo.toml", "examples/minimal.rs", "src/adapter.rs", "src/append.rs", "src/bindings.rs", "src/config.rs",
            "src/cursor.rs", "src/error.rs", "src/export.rs", "src/http.rs", "src/inner.rs", "src/lib.rs", "src/logging.rs", "src/sql.rs";
    ],
    placeholders: RUST_NAMES,
    wit: "wit/deps",
    build: "cargo build --release --target wasm32-wasip2",
    component: "target/wasm32-wasip2/release/NAME.wasm",
    #[cfg(test)]
    sources: &[("adapters/sql/src", "src/"), ("adapters/sdk", "vendor/agent-host-adapter/")],
    #[cfg(test)]
    own: &[],
};

const RUST_HOOK: Template = Template {
    files: files![
        "Cargo.toml" = "rust/hook.toml", "README.md" = "rust/hook.md", ".gitignore" = "rust/gitignore", "src/lib.rs" = "../../../../adapters/hook-sdk/examples/blocklist.rs";
        "adapters/hook-sdk" => "vendor/agent-host-hook/": "Cargo.toml", "examples/blocklist.rs", "src/bindings.rs", "src/control.rs", "src/error.rs", "src/export.rs", "src/hook.rs",
            "src/info.rs", "src/lib.rs";
        // Files that both SDKs have.
        "adapters/sdk/src" => "vendor/sdk/src/": "config.rs", "http.rs", "logging.rs", "sql.rs";
    ],
    #[cfg(test)]
    sources: &[("adapters/hook-sdk", "vendor/agent-host-hook/")],
    ..RUST_ADAPTER
};

const TYPESCRIPT_ADAPTER: Template = Template {
    files: files![;
        "examples/adapters/typescript" => "": ".gitignore", "README.md", "package-lock.json", "package.json", "src/adapter.ts", "src/agent-host/adapter.ts", "src/agent-host/append.ts", "src/agent-host/config.ts", "src/agent-host/contract.ts", "src/agent-host/cursor.ts", "src/agent-host/database.ts", "src/agent-host/error.ts", "src/agent-host/export.ts", "src/agent-host/guard.ts", "src/agent-host/index.ts", "src/agent-host/limits.ts", "src/agent-host/log.ts", "src/agent-host/numbers.ts", "src/agent-host/sql.ts", "src/agent-host/values.ts", "src/chunks.ts", "src/dialect.ts", "src/files.ts", "src/leases.ts", "src/profiles.ts", "src/schema.ts", "src/sessions.ts", "src/streams.ts", "src/writes.ts", "test/chunks.test.ts", "test/database.test.ts", "test/error.test.ts", "test/export.test.ts", "test/guard.test.ts", "test/host/logging.ts", "test/host/sql.ts", "test/places.test.ts", "test/sql.test.ts", "test/tsconfig.json", "test/values.test.ts", "tsconfig.json", "wit/world.wit";
    ],
    placeholders: &[("sessions-typescript", "NAME")],
    wit: "wit/deps",
    build: "npm install && npm run build",
    component: "build/adapter.wasm",
    #[cfg(test)]
    sources: &[("examples/adapters/typescript", "")],
    #[cfg(test)]
    own: &[],
};

const C_ADAPTER: Template = Template {
    files: files![;
        "examples/adapters/c" => "": ".clang-format", ".gitignore", "Makefile", "README.md", "generated/adapter.c", "generated/adapter.h", "generated/adapter_component_type.o", "src/chunk.c", "src/chunk.h", "src/component.c", "src/cursor.c", "src/cursor.h", "src/files.c", "src/files.h", "src/leases.c", "src/leases.h", "src/profiles.c", "src/profiles.h", "src/schema.c", "src/schema.h", "src/sessions.c", "src/sessions.h", "src/shim/arena.c", "src/shim/arena.h", "src/shim/bindings.c", "src/shim/check.c", "src/shim/check.h", "src/shim/database.c", "src/shim/database.h", "src/shim/dialect.h", "src/shim/failure.c", "src/shim/failure.h", "src/shim/log.c", "src/shim/log.h", "src/shim/memory.c", "src/shim/memory.h", "src/shim/row.c", "src/shim/row.h", "src/shim/text.c", "src/shim/text.h", "src/shim/value.h", "src/streams.c", "src/streams.h", "tests/adapter_test.c", "tests/arena_test.c", "tests/database_test.c", "tests/host.c", "tests/host.h", "tests/test.h", "tests/words_test.c", "tools/find-clang", "tools/find-component-linker", "wit/world.wit";
    ],
    placeholders: &[("sessions-c", "NAME")],
    build: "make",
    #[cfg(test)]
    sources: &[("examples/adapters/c", "")],
    ..TYPESCRIPT_ADAPTER
};

const PYTHON_ADAPTER: Template = Template {
    files: files![;
        "examples/adapters/python" => "": ".gitignore", "README.md", "build.sh", "check.sh", "pyproject.toml", "requirements-check.txt", "requirements.txt", "src/adapter.py", "src/agent_host/__init__.py", "src/agent_host/arguments.py", "src/agent_host/errors.py", "src/agent_host/log.py", "src/agent_host/sql.py", "src/store/__init__.py", "src/store/chunks.py", "src/store/fence.py", "src/store/files.py", "src/store/leases.py", "src/store/profiles.py", "src/store/schema.py", "src/store/sessions.py", "src/store/streams.py", "src/store/words.py", "tests/conftest.py", "tests/host_in_python.py", "tests/test_arguments.py", "tests/test_chunks.py", "tests/test_errors.py", "tests/test_log.py", "tests/test_sql.py", "tests/test_store.py", "wit/world.wit";
    ],
    placeholders: &[("sessions-python", "NAME")],
    build: "./build.sh",
    #[cfg(test)]
    sources: &[("examples/adapters/python", "")],
    ..TYPESCRIPT_ADAPTER
};

const TYPESCRIPT_HOOK: Template = Template {
    files: files![;
        "examples/hooks/typescript" => "": ".gitignore", "README.md", "package-lock.json", "package.json", "src/agent-host/config.ts", "src/agent-host/contract.ts", "src/agent-host/control.ts", "src/agent-host/define.ts", "src/agent-host/error.ts", "src/agent-host/guard.ts", "src/agent-host/hook.ts", "src/agent-host/index.ts", "src/agent-host/json.ts", "src/agent-host/log.ts", "src/hook.ts", "test/define.test.ts", "test/hook.test.ts", "test/host/logging.ts", "test/host/session-control.ts", "test/support.ts", "test/tsconfig.json", "tsconfig.json", "wit/world.wit";
    ],
    placeholders: &[("blocklist-typescript", "NAME")],
    component: "build/hook.wasm",
    #[cfg(test)]
    sources: &[("examples/hooks/typescript", "")],
    ..TYPESCRIPT_ADAPTER
};

const C_HOOK: Template = Template {
    files: files![;
        "examples/hooks/c" => "": ".clang-format", ".gitignore", "Makefile", "README.md", "generated/component.c", "generated/component.h", "generated/component_component_type.o", "src/hook.c", "src/shim/bindings.c", "src/shim/config.c", "src/shim/config.h", "src/shim/export.c", "src/shim/failure.c", "src/shim/failure.h", "src/shim/hook.h", "src/shim/json.c", "src/shim/json.h", "src/shim/log.c", "src/shim/log.h", "src/shim/memory.c", "src/shim/memory.h", "src/shim/session.c", "src/shim/session.h", "src/shim/text.c", "src/shim/text.h", "src/shim/verdict.c", "tests/bare_test.c", "tests/hook_test.c", "tests/host.c", "tests/host.h", "tests/shim_test.c", "tests/test.h", "tests/words_test.c", "tools/find-clang", "tools/find-component-linker", "wit/world.wit";
    ],
    placeholders: &[("blocklist-c", "NAME")],
    component: "build/hook.wasm",
    #[cfg(test)]
    sources: &[("examples/hooks/c", "")],
    ..C_ADAPTER
};

const PYTHON_HOOK: Template = Template {
    files: files![;
        "examples/hooks/python" => "": ".gitignore", "README.md", "build.sh", "check.sh", "pyproject.toml", "requirements-check.txt", "requirements.txt", "src/agent_host/__init__.py", "src/agent_host/config.py", "src/agent_host/control.py", "src/agent_host/errors.py", "src/agent_host/export.py", "src/agent_host/hook.py", "src/agent_host/log.py", "src/agent_host/values.py", "src/hook.py", "tests/conftest.py", "tests/test_control.py", "tests/test_export.py", "tests/test_hook.py", "tests/test_log.py", "wit/world.wit";
    ],
    placeholders: &[("blocklist-python", "NAME")],
    component: "build/hook.wasm",
    #[cfg(test)]
    sources: &[("examples/hooks/python", "")],
    ..PYTHON_ADAPTER
};

/// The template of a project.
pub(super) fn find(kind: Kind, language: Language) -> &'static Template {
    match (kind, language) {
        (Kind::Adapter, Language::Rust) => &RUST_ADAPTER,
        (Kind::Adapter, Language::Python) => &PYTHON_ADAPTER,
        (Kind::Adapter, Language::TypeScript) => &TYPESCRIPT_ADAPTER,
        (Kind::Adapter, Language::C) => &C_ADAPTER,
        (Kind::Hook, Language::Rust) => &RUST_HOOK,
        (Kind::Hook, Language::Python) => &PYTHON_HOOK,
        (Kind::Hook, Language::TypeScript) => &TYPESCRIPT_HOOK,
        (Kind::Hook, Language::C) => &C_HOOK,
    }
}

/// All templates.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (Kind, Language, &'static Template)> {
    let languages = <Language as clap::ValueEnum>::value_variants();
    [Kind::Adapter, Kind::Hook]
        .into_iter()
        .flat_map(move |kind| languages.iter().map(move |language| (kind, *language, find(kind, *language))))
}
