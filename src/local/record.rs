//! What the operator states.

use crate::iana::Rtype;
use crate::name::Name;

/// A record that is answered here, of class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is; `*` as its first label stands for whatever is there and has no record of its own (RFC 4592).
    pub owner: Name,
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL in seconds.
    pub ttl_s: u32,
    /// Its RDATA, names spelled out.
    pub rdata: Box<[u8]>,
}

/// All that is stated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// Zones answered here whole: what they lack does not exist.
    pub zones: Vec<Name>,
    /// Records, in these zones and elsewhere.
    pub records: Vec<Record>,
}

/// What of the names that have no meaning outside is asked of others all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Special {
    /// Zones to forward after all, with all below them: `168.192.in-addr.arpa` to the home router, say.
    pub forward: Vec<Name>,
    /// Whether names such as `nas.lan`, and `nas` alone, are forwarded: whoever is upstream is of this network and knows them.
    pub forward_home_names: bool,
}
