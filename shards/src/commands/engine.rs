//! Commands that concern all shards: the engine and the server around it run them; here stand only their entries.

use super::arguments::reply_help;
use super::table::{Command, EngineCommand, Home, Route, Run, flags};

pub static COMMANDS: &[Command] = &[
    Command::new(
        "save",
        1,
        flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING | flags::NO_MULTI,
        Route::Engine,
        Run::Engine(EngineCommand::Save),
    )
    .acl(&["admin", "slow", "dangerous"])
    .doc(
        "server",
        "1.0.0",
        "O(N) where N is the total number of keys in all databases",
        "Synchronously save the dataset to disk",
    ),
    Command::new(
        "bgsave",
        -1,
        flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING,
        Route::Engine,
        Run::Engine(EngineCommand::BgSave),
    )
    .acl(&["admin", "slow", "dangerous"])
    .arguments("[SCHEDULE]")
    .doc("server", "1.0.0", "O(1)", "Asynchronously save the dataset to disk"),
    Command::new(
        "bgrewriteaof",
        1,
        flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING,
        Route::Engine,
        Run::Engine(EngineCommand::BgRewriteAof),
    )
    .acl(&["admin", "slow", "dangerous"])
    .doc("server", "1.0.0", "O(1)", "Asynchronously rewrite the append-only file"),
    Command::new(
        "export",
        -2,
        flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING,
        Route::Engine,
        Run::Engine(EngineCommand::Export),
    )
    .acl(&["admin", "slow", "dangerous"])
    .arguments("format(RDB | AOF) [name] [VERSION version]")
    .doc(
        "server",
        "7.2.0",
        "O(N) where N is the total number of keys in all databases",
        "Writes the data set at one point in time as standard Redis files (not a command of Redis)",
    ),
    Command::new("lastsave", 1, flags::LOADING | flags::STALE | flags::FAST, Route::Engine, Run::Engine(EngineCommand::LastSave))
        .acl(&["admin", "fast", "dangerous"])
        .tips(&["nondeterministic_output"])
        .doc("server", "1.0.0", "O(1)", "Get the UNIX time stamp of the last successful save to disk"),
    Command::new(
        "shutdown",
        -1,
        flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE | flags::NO_MULTI | flags::ALLOW_BUSY,
        Route::Engine,
        Run::Engine(EngineCommand::Shutdown),
    )
    .acl(&["admin", "slow", "dangerous"])
    .arguments("[abort-selector(save-selector-block([save-selector(NOSAVE | SAVE)] [NOW] [FORCE]) | ABORT)]")
    .doc(
        "server",
        "1.0.0",
        "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
        "Synchronously save the dataset to disk and then shut down the server",
    ),
    Command::new("info", -1, flags::LOADING | flags::STALE, Route::Engine, Run::Engine(EngineCommand::Info))
        .acl(&["slow", "dangerous"])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .arguments("[section...]")
        .doc("server", "1.0.0", "O(1)", "Get information and statistics about the server"),
    Command::new(
        "debug",
        -2,
        flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
        Route::Engine,
        Run::Engine(EngineCommand::Debug),
    )
    .acl(&["admin", "slow", "dangerous"])
    .doc("server", "1.0.0", "Depends on subcommand.", "A container for debugging commands"),
    Command::new("config", -2, 0, Route::Home, Run::Container)
        .acl(&["slow"])
        .doc("server", "2.0.0", "Depends on subcommand.", "A container for server configuration commands")
        .subcommands(&[
            Command::new(
                "config|get",
                -3,
                flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
                Route::Engine,
                Run::Engine(EngineCommand::ConfigGet),
            )
            .acl(&["admin", "slow", "dangerous"])
            .arguments("parameter...")
            .doc(
                "server",
                "2.0.0",
                "O(N) when N is the number of configuration parameters provided",
                "Get the values of configuration parameters",
            ),
            Command::new(
                "config|set",
                -4,
                flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
                Route::Engine,
                Run::Engine(EngineCommand::ConfigSet),
            )
            .acl(&["admin", "slow", "dangerous"])
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .arguments("data(parameter value)...")
            .doc(
                "server",
                "2.0.0",
                "O(N) when N is the number of configuration parameters provided",
                "Set configuration parameters to the given values",
            ),
            Command::new(
                "config|resetstat",
                2,
                flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
                Route::Engine,
                Run::Engine(EngineCommand::ConfigResetStat),
            )
            .acl(&["admin", "slow", "dangerous"])
            .doc("server", "2.0.0", "O(1)", "Reset the stats returned by INFO"),
            Command::new(
                "config|rewrite",
                2,
                flags::ADMIN | flags::NOSCRIPT | flags::LOADING | flags::STALE,
                Route::Engine,
                Run::Engine(EngineCommand::ConfigRewrite),
            )
            .acl(&["admin", "slow", "dangerous"])
            .doc("server", "2.8.0", "O(1)", "Rewrite the configuration file with the in memory configuration"),
            Command::new("config|help", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(config_help))
                .acl(&["slow"])
                .doc("server", "5.0.0", "O(1)", "Show helpful text about the different subcommands"),
        ]),
];

/// CONFIG HELP
fn config_help(home: &mut Home<'_>, args: &[&[u8]]) {
    reply_help(&mut home.reply, args[0], CONFIG_HELP);
}

const CONFIG_HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];
