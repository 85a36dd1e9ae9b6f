//! Sinkscope: a caching forwarding DNS resolver that enforces takedown orders to the letter.
//!
//! This list is the map; arrows run from the bottom up and never back:
//! `cli -> daemon -> {server, control} -> resolver -> {cache, upstream} -> dns`, `resolver -> forge -> {dns, policy}`,
//! `orders -> policy`.

// What is `pub` is what the program, tests, benches and fuzz targets use.
#![warn(unreachable_pub)]

pub mod histogram; // how long things took
pub mod iana; // numbers that IANA keeps for DNS
pub mod name; // domain names
mod suffixes; // names below which others have theirs
pub mod time; // wall time as a number
pub mod transport; // how messages travel

pub mod batch; // many datagrams a system call; `unsafe` is here
pub mod interface; // addresses that belong to one
#[cfg(target_os = "linux")]
mod links; // that links, addresses and routes changed
pub mod log; // to standard error, and never in anybody's way
mod owner; // whose files are
pub mod plain; // text that people may be shown
pub mod policy; // the core: which order captures a name
mod spares; // file descriptors held back
mod system; // the remaining unsafe code

pub mod dns; // messages as values
pub mod ecs; // which networks of clients upstream is told of
pub mod forge; // what captured names get
pub mod keys; // keys nobody knows, and the nearest that is
pub mod orders; // files to policy
pub mod problem; // what is wrong with a file, and where
pub mod rebinding; // answers from outside that lead inside
mod zonefile; // zone files to records

pub mod local; // names answered here
pub mod stated; // what the operator states of those

pub mod cache; // truth by question
pub mod upstream; // whom we ask

pub mod sketch; // how many different clients there were, roughly
pub mod sources; // lists from elsewhere to good files here
mod zstd; // Zstandard streams, of traces and lists

pub mod access; // who may ask
pub mod clients; // which zones apply to whom, and when
pub mod clock; // time as an argument
pub mod serve; // what listeners know of who answers

pub mod querylog; // who asked what, for whoever is to know
pub mod resolver; // the request path

pub mod evidence; // who asked for what orders take

pub mod control; // reload, what is stated, the API, guards
pub mod server; // listeners

pub mod trace; // queries made, read and replayed, offline

pub mod config; // what can be set
pub mod daemon; // wires everything
pub mod doctor; // what of this machine stands in the way
pub mod moving; // configurations of other resolvers as ours

pub mod cli; // one file a subcommand
