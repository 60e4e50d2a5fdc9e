//! MODULE: there are none.

use super::arguments::reply_help;
use super::table::{Command, Home, Route, Run, flags};

pub static COMMANDS: &[Command] = &[Command::new("module", -2, 0, Route::Home, Run::Container)
    .acl(&["slow"])
    .doc("server", "4.0.0", "Depends on subcommand.", "A container for module commands.")
    .subcommands(&[
        Command::new("module|help", 2, flags::LOADING | flags::STALE, Route::Home, Run::Home(help)).acl(&["slow"]).doc(
            "server",
            "5.0.0",
            "O(1)",
            "Returns helpful text about the different subcommands.",
        ),
        Command::new("module|list", 2, flags::ADMIN | flags::NOSCRIPT, Route::Home, Run::Home(list))
            .acl(&["admin", "slow", "dangerous"])
            .tips(&["nondeterministic_output_order"])
            .doc("server", "4.0.0", "O(N) where N is the number of loaded modules.", "Returns all loaded modules."),
        Command::new(
            "module|load",
            -3,
            flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING,
            Route::Home,
            Run::Home(not_allowed),
        )
        .acl(&["admin", "slow", "dangerous"])
        .arguments("path [arg...]")
        .doc("server", "4.0.0", "O(1)", "Loads a module."),
        Command::new(
            "module|loadex",
            -3,
            flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING,
            Route::Home,
            Run::Home(not_allowed),
        )
        .acl(&["admin", "slow", "dangerous"])
        .arguments("path [CONFIG configs(name value)]... [ARGS args...]")
        .doc("server", "7.0.0", "O(1)", "Loads a module using extended parameters."),
        Command::new(
            "module|unload",
            3,
            flags::ADMIN | flags::NOSCRIPT | flags::NO_ASYNC_LOADING,
            Route::Home,
            Run::Home(not_allowed),
        )
        .acl(&["admin", "slow", "dangerous"])
        .arguments("name")
        .doc("server", "4.0.0", "O(1)", "Unloads a module."),
    ])];

/// MODULE LIST
fn list(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.reply.array(0);
}

/// MODULE LOAD, LOADEX and UNLOAD: a module is native code against Redis's inner parts, which aren't here.
fn not_allowed(home: &mut Home<'_>, _args: &[&[u8]]) {
    home.reply.error("ERR MODULE command not allowed. This server loads no modules.");
}

/// MODULE HELP
fn help(home: &mut Home<'_>, args: &[&[u8]]) {
    reply_help(&mut home.reply, args[0], HELP);
}

const HELP: &[&str] = &[
    "LIST",
    "    Return a list of loaded modules.",
    "LOAD <path> [<arg> ...]",
    "    Load a module library from <path>, passing to it any optional arguments.",
    "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
    "    Load a module library from <path>, while passing it module configurations and optional arguments.",
    "UNLOAD <name>",
    "    Unload a module.",
];
