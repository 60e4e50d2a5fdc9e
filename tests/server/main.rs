//! The whole server, as a client and an operator see it: the real binary on a free port in a directory of its own.

mod harness;

mod admin;
mod bad_files;
mod bulk;
mod clients;
mod command_docs;
mod connections;
mod differential;
mod durability;
mod exchange;
mod io_uring;
mod kill;
mod memory;
mod reload;
mod shutdown;
mod stalls;
