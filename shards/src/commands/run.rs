//! Runs one data command and holds every handler to *changed ⇔ effect*.

use super::context::Ctx;
use super::table::{Command, Run};

/// Runs the handler of a command with `Route::Keys` or `Route::All`, whose arguments fit its arity.
///
/// # Panics
/// When the handler changed the keyspace without stating an effect, or the reverse: the log would not lead to the same
/// state, which is worse than a stop. Also when the command is not a data command.
pub fn run_data(command: &Command, ctx: &mut Ctx<'_>, args: &[&[u8]]) {
    let Run::Data(handler) = command.run else {
        panic!("{} is not a data command", command.name);
    };
    debug_assert!(command.arity_matches(args.len()), "{} with {} arguments", command.name, args.len());
    let (changes, effects) = (ctx.keyspace.changes(), ctx.effects.count());
    handler(ctx, args);
    let (changed, stated) = (ctx.keyspace.changes() != changes, ctx.effects.count() != effects);
    assert_eq!(changed, stated, "{}: changed the keyspace: {changed}, stated an effect: {stated}", command.name);
}
