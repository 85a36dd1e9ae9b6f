//! Moving in: what other resolvers are told, as a configuration of ours with its lists beside it.
//!
//! Each product has a file that reads its own format into one [`Moved`]; [`mod@write`] makes files of that. What cannot be carried over, or
//! behaves otherwise here, is a [`Row`] with its place and the reason: nothing is guessed in silence. Readers of trees ([`tree`]) mark
//! what they took, so that a setting which nobody knows is a row as well.

mod adguard;
mod blocky;
mod dnscrypt;
mod dnsmasq;
mod moved;
mod pihole;
mod rules;
mod text;
mod tree;
mod unbound;
pub mod write;

use std::path::Path;

pub use moved::{Fate, Moved, Place, Row};

use crate::problem::Problem;

/// Whose configuration is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Product {
    /// Pi-hole 6: its folder, `pihole.toml` or `gravity.db`
    Pihole,
    /// AdGuard Home: `AdGuardHome.yaml`
    Adguardhome,
    /// blocky: `config.yml`
    Blocky,
    /// Unbound: `unbound.conf`
    Unbound,
    /// dnsmasq: `dnsmasq.conf`
    Dnsmasq,
    /// dnscrypt-proxy: `dnscrypt-proxy.toml`
    DnscryptProxy,
}

impl Product {
    /// The name of lists of what its configuration states itself.
    pub fn name(self) -> &'static str {
        match self {
            Product::Pihole => "pihole",
            Product::Adguardhome => "adguardhome",
            Product::Blocky => "blocky",
            Product::Unbound => "unbound",
            Product::Dnsmasq => "dnsmasq",
            Product::DnscryptProxy => "dnscrypt-proxy",
        }
    }
}

/// Reads a product's configuration.
///
/// # Errors
/// When there is none, or it is none of that product's.
pub fn read(product: Product, path: &Path) -> Result<Moved, Problem> {
    let mut moved = Moved::new(product.name());
    match product {
        Product::Pihole => pihole::read(path, &mut moved)?,
        Product::Adguardhome => adguard::read(path, &mut moved)?,
        Product::Blocky => blocky::read(path, &mut moved)?,
        Product::Unbound => unbound::read(path, &mut moved)?,
        Product::Dnsmasq => dnsmasq::read(path, &mut moved)?,
        Product::DnscryptProxy => dnscrypt::read(path, &mut moved)?,
    }
    moved.finish();
    Ok(moved)
}
