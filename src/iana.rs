//! Numbers that IANA keeps for DNS, each with the name people write: types, classes, response codes, Extended DNS Errors.
//!
//! One table each; text both ways is made from it. Any number is a value: what has no name here is written as RFC 3597 says.

use std::fmt;
use std::str::FromStr;

/// Makes a newtype of 16 bits with named values.
macro_rules! numbers {
    (
        $(#[$about:meta])*
        $type:ident, unnamed $prefix:literal {
            $($(#[$what:meta])* $name:ident = $number:literal $text:literal;)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub u16);

        impl $type {
            $($(#[$what])* pub const $name: $type = $type($number);)+

            /// Every value that has a name.
            pub const NAMED: &'static [($type, &'static str)] = &[$(($type::$name, $text)),+];

            /// The name; none if it has none here.
            pub fn name(self) -> Option<&'static str> {
                Self::NAMED.iter().find(|(known, _)| *known == self).map(|(_, name)| *name)
            }

            /// As it stands in a message, most significant octet first.
            pub const fn to_be_bytes(self) -> [u8; 2] {
                self.0.to_be_bytes()
            }

            /// As it was read from a message.
            pub const fn from_be_bytes(octets: [u8; 2]) -> $type {
                $type(u16::from_be_bytes(octets))
            }
        }

        impl From<$type> for u16 {
            fn from(value: $type) -> u16 {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => out.pad(name),
                    None => out.pad(&format!("{}{}", $prefix, self.0)),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl FromStr for $type {
            type Err = Unknown;

            /// Reads a name in any case, or the prefix of those without a name and a number.
            fn from_str(text: &str) -> Result<$type, Unknown> {
                let named = Self::NAMED.iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
                named.map(|(value, _)| *value).or_else(|| numbered(text, $prefix).map($type)).ok_or(Unknown)
            }
        }
    };
}

/// A text that names no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("neither a name nor a number of its kind")
    }
}

impl std::error::Error for Unknown {}

/// The number behind a prefix.
fn numbered(text: &str, prefix: &str) -> Option<u16> {
    let (head, digits) = text.split_at_checked(prefix.len())?;
    let plain = head.eq_ignore_ascii_case(prefix) && digits.bytes().all(|octet| octet.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

numbers! {
    /// A record type, or a type that only questions have (IANA DNS resource record types); others read TYPE123 (RFC 3597 §5).
    Rtype, unnamed "TYPE" {
        /// IPv4 address (RFC 1035).
        A = 1 "A";
        /// Name server (RFC 1035).
        NS = 2 "NS";
        /// Mail destination (RFC 1035; obsolete).
        MD = 3 "MD";
        /// Mail forwarder (RFC 1035; obsolete).
        MF = 4 "MF";
        /// Alias (RFC 1035).
        CNAME = 5 "CNAME";
        /// Start of authority (RFC 1035).
        SOA = 6 "SOA";
        /// Mailbox (RFC 1035; experimental).
        MB = 7 "MB";
        /// Mail group member (RFC 1035; experimental).
        MG = 8 "MG";
        /// Mailbox rename (RFC 1035; experimental).
        MR = 9 "MR";
        /// Reverse name (RFC 1035).
        PTR = 12 "PTR";
        /// Host information, also the answer to ANY (RFC 8482 §4.2).
        HINFO = 13 "HINFO";
        /// Mailbox information (RFC 1035; experimental).
        MINFO = 14 "MINFO";
        /// Mail exchange (RFC 1035).
        MX = 15 "MX";
        /// Text (RFC 1035).
        TXT = 16 "TXT";
        /// Responsible person (RFC 1183).
        RP = 17 "RP";
        /// Andrew file system database (RFC 1183).
        AFSDB = 18 "AFSDB";
        /// Route through (RFC 1183).
        RT = 21 "RT";
        /// Reverse name of an NSAP address (RFC 1348; obsolete).
        NSAP_PTR = 23 "NSAP-PTR";
        /// A signature, before RRSIG and of transactions (RFC 2535, RFC 2931).
        SIG = 24 "SIG";
        /// A key, before DNSKEY (RFC 2535).
        KEY = 25 "KEY";
        /// X.400 mapping (RFC 2163).
        PX = 26 "PX";
        /// IPv6 address (RFC 3596).
        AAAA = 28 "AAAA";
        /// Location (RFC 1876).
        LOC = 29 "LOC";
        /// Denial of existence before NSEC (RFC 2535; obsolete).
        NXT = 30 "NXT";
        /// Where a service is (RFC 2782).
        SRV = 33 "SRV";
        /// Naming authority pointer (RFC 3403).
        NAPTR = 35 "NAPTR";
        /// Key exchanger (RFC 2230).
        KX = 36 "KX";
        /// Certificate (RFC 4398).
        CERT = 37 "CERT";
        /// Subtree alias (RFC 6672).
        DNAME = 39 "DNAME";
        /// EDNS pseudo-record (RFC 6891).
        OPT = 41 "OPT";
        /// Delegation signer, the parent's side of DNSSEC (RFC 4034).
        DS = 43 "DS";
        /// A host's SSH key (RFC 4255).
        SSHFP = 44 "SSHFP";
        /// A signature over records (RFC 4034 §3).
        RRSIG = 46 "RRSIG";
        /// Denial of existence by name (RFC 4034 §4).
        NSEC = 47 "NSEC";
        /// A zone's key (RFC 4034 §2).
        DNSKEY = 48 "DNSKEY";
        /// Denial of existence by hash (RFC 5155 §3).
        NSEC3 = 50 "NSEC3";
        /// How a zone's names are hashed (RFC 5155 §4).
        NSEC3PARAM = 51 "NSEC3PARAM";
        /// A service's certificate (RFC 6698).
        TLSA = 52 "TLSA";
        /// What the child wishes its DS to be (RFC 7344).
        CDS = 59 "CDS";
        /// The same as keys (RFC 7344).
        CDNSKEY = 60 "CDNSKEY";
        /// A key for mail (RFC 7929).
        OPENPGPKEY = 61 "OPENPGPKEY";
        /// A digest of the zone that holds it (RFC 8976).
        ZONEMD = 63 "ZONEMD";
        /// Service binding (RFC 9460).
        SVCB = 64 "SVCB";
        /// Service binding of HTTPS (RFC 9460).
        HTTPS = 65 "HTTPS";
        /// Who may send mail, by its old type (RFC 7208 §3.1).
        SPF = 99 "SPF";
        /// Establishing a key (RFC 2930).
        TKEY = 249 "TKEY";
        /// A transaction's signature (RFC 8945).
        TSIG = 250 "TSIG";
        /// Incremental transfer (RFC 1995).
        IXFR = 251 "IXFR";
        /// Whole transfer (RFC 5936).
        AXFR = 252 "AXFR";
        /// Mailboxes, as a question (RFC 1035; obsolete).
        MAILB = 253 "MAILB";
        /// Mail agents, as a question (RFC 1035; obsolete).
        MAILA = 254 "MAILA";
        /// Any type, as a question (RFC 8482).
        ANY = 255 "ANY";
        /// Uniform resource identifier (RFC 7553).
        URI = 256 "URI";
        /// Who may issue certificates (RFC 8659).
        CAA = 257 "CAA";
        /// Delegation signer, aside (RFC 4431; obsolete).
        DLV = 32769 "DLV";
    }
}

impl Rtype {
    /// Whether it is no type of data: 0, OPT, and those that only questions and transfers have (RFC 6895 §3.1).
    pub const fn is_meta(self) -> bool {
        matches!(self.0, 0 | 41 | 128..=255)
    }
}

numbers! {
    /// A class (IANA DNS classes); others read CLASS123 (RFC 3597 §5).
    Class, unnamed "CLASS" {
        /// Internet (RFC 1035).
        IN = 1 "IN";
        /// Chaos, used to ask servers about themselves (RFC 4892).
        CH = 3 "CH";
        /// None, as updates have it (RFC 2136).
        NONE = 254 "NONE";
        /// Any class, as a question (RFC 1035).
        ANY = 255 "ANY";
    }
}

numbers! {
    /// A response code, extended ones included: 0 to 4095 (IANA DNS RCODEs); others read RCODE123.
    Rcode, unnamed "RCODE" {
        /// No error (RFC 1035).
        NOERROR = 0 "NOERROR";
        /// The query could not be read (RFC 1035).
        FORMERR = 1 "FORMERR";
        /// The server could not do it (RFC 1035).
        SERVFAIL = 2 "SERVFAIL";
        /// The name does not exist (RFC 1035).
        NXDOMAIN = 3 "NXDOMAIN";
        /// The opcode is not known here (RFC 1035).
        NOTIMP = 4 "NOTIMP";
        /// The server will not (RFC 1035).
        REFUSED = 5 "REFUSED";
        /// A name became too long when a part of it was replaced (RFC 6672 §2.2).
        YXDOMAIN = 6 "YXDOMAIN";
        /// Records are there that should not be (RFC 2136).
        YXRRSET = 7 "YXRRSET";
        /// Records are not there that should be (RFC 2136).
        NXRRSET = 8 "NXRRSET";
        /// The server is not the zone's (RFC 2136), or the sender not allowed (RFC 8945).
        NOTAUTH = 9 "NOTAUTH";
        /// The name is not in the zone (RFC 2136).
        NOTZONE = 10 "NOTZONE";
        /// An EDNS version above ours (RFC 6891 §9).
        BADVERS = 16 "BADVERS";
        /// A server cookie that is none of ours (RFC 7873 §8).
        BADCOOKIE = 23 "BADCOOKIE";
    }
}

numbers! {
    /// What is said beside a response code (RFC 8914, IANA Extended DNS Error Codes).
    EdeCode, unnamed "EDE" {
        /// None of the others.
        OTHER = 0 "Other Error";
        /// The zone's keys are of kinds that the validator does not know.
        UNSUPPORTED_DNSKEY_ALGORITHM = 1 "Unsupported DNSKEY Algorithm";
        /// The zone's delegation is signed by digests that the validator does not know.
        UNSUPPORTED_DS_DIGEST_TYPE = 2 "Unsupported DS Digest Type";
        /// The answer is older than its TTL (RFC 8767).
        STALE_ANSWER = 3 "Stale Answer";
        /// The answer is not what the zone says.
        FORGED_ANSWER = 4 "Forged Answer";
        /// Validation came to no end (RFC 4035 §4.3).
        DNSSEC_INDETERMINATE = 5 "DNSSEC Indeterminate";
        /// Validation failed.
        DNSSEC_BOGUS = 6 "DNSSEC Bogus";
        /// The signatures have expired.
        SIGNATURE_EXPIRED = 7 "Signature Expired";
        /// The signatures are not valid yet.
        SIGNATURE_NOT_YET_VALID = 8 "Signature Not Yet Valid";
        /// The parent names a key that the zone does not have.
        DNSKEY_MISSING = 9 "DNSKEY Missing";
        /// There are no signatures where there should be.
        RRSIGS_MISSING = 10 "RRSIGs Missing";
        /// The zone's keys are not said to be those of a zone.
        NO_ZONE_KEY_BIT_SET = 11 "No Zone Key Bit Set";
        /// Nothing proves the denial.
        NSEC_MISSING = 12 "NSEC Missing";
        /// A failure that was remembered (RFC 9520).
        CACHED_ERROR = 13 "Cached Error";
        /// The server is still starting.
        NOT_READY = 14 "Not Ready";
        /// On a list of whoever runs this resolver.
        BLOCKED = 15 "Blocked";
        /// Required by somebody outside the operator's house.
        CENSORED = 16 "Censored";
        /// On a list the client asked for.
        FILTERED = 17 "Filtered";
        /// The client may not ask here.
        PROHIBITED = 18 "Prohibited";
        /// A negative answer older than its TTL.
        STALE_NXDOMAIN_ANSWER = 19 "Stale NXDOMAIN Answer";
        /// Recursion is not desired, and nobody is an authority here.
        NOT_AUTHORITATIVE = 20 "Not Authoritative";
        /// What is asked for is not done here.
        NOT_SUPPORTED = 21 "Not Supported";
        /// No upstream answered.
        NO_REACHABLE_AUTHORITY = 22 "No Reachable Authority";
        /// The network failed on the way to an upstream.
        NETWORK_ERROR = 23 "Network Error";
        /// The zone's data is no longer current there.
        INVALID_DATA = 24 "Invalid Data";
        /// The signature ends before it begins.
        SIGNATURE_EXPIRED_BEFORE_VALID = 25 "Signature Expired before Valid";
        /// Early data that might be a replay (RFC 9250).
        TOO_EARLY = 26 "Too Early";
        /// The denial takes more hashing than the validator does (RFC 9276).
        UNSUPPORTED_NSEC3_ITERATIONS_VALUE = 27 "Unsupported NSEC3 Iterations Value";
        /// The answer would be against a policy.
        UNABLE_TO_CONFORM_TO_POLICY = 28 "Unable to conform to policy";
        /// Made of other answers that were at hand.
        SYNTHESIZED = 29 "Synthesized";
        /// The type is none to ask for (RFC 9824).
        INVALID_QUERY_TYPE = 30 "Invalid Query Type";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_numbers() {
        for (text, rtype) in [
            ("A", Rtype::A),
            ("https", Rtype::HTTPS),
            ("Nsap-Ptr", Rtype::NSAP_PTR),
            ("TYPE65280", Rtype(65_280)),
            ("type1", Rtype::A),
        ] {
            assert_eq!(text.parse(), Ok(rtype), "{text}");
        }
        for text in ["", "TYPE", "TYPE-1", "TYPE+1", "TYPE65536", "B", "TYPEx", "é€é", "CLASS1"] {
            assert_eq!(text.parse::<Rtype>(), Err(Unknown), "{text}");
        }
        assert_eq!((Rtype(65_280).name(), Rtype(65_280).to_string()), (None, "TYPE65280".to_owned()));
        assert_eq!(format!("{:>6}|{:<8}|", Rtype::MX, Rtype(65_280)), "    MX|TYPE65280|");
    }

    /// Every name leads to its number and back; numbers ascend, so that none is there twice.
    fn named<T>(all: &[(T, &str)])
    where
        T: Copy + Ord + fmt::Display + fmt::Debug + FromStr<Err = Unknown>,
    {
        assert!(all.is_sorted_by(|(one, _), (next, _)| one < next));
        for (value, name) in all {
            assert_eq!((value.to_string().as_str(), name.parse()), (*name, Ok(*value)));
        }
    }

    #[test]
    fn codes_have_names() {
        named(Rtype::NAMED);
        named(Class::NAMED);
        named(Rcode::NAMED);
        named(EdeCode::NAMED);
        for (code, name) in EdeCode::NAMED {
            assert_eq!(code.name(), Some(*name));
        }
        assert_eq!(EdeCode(65_535).name(), None);
        assert_eq!([Class(4).to_string(), Rcode(12).to_string()], ["CLASS4", "RCODE12"]);
    }

    #[test]
    fn numbers_stand_in_messages_as_they_are() {
        assert_eq!(Rtype::URI.to_be_bytes(), [1, 0]);
        assert_eq!(Rtype::from_be_bytes([1, 0]), Rtype::URI);
        assert_eq!(u16::from(Rcode::BADVERS), 16);
    }

    #[test]
    fn meta_types_hold_no_data() {
        for number in [0, 41, 128, 249, 252, 255] {
            assert!(Rtype(number).is_meta(), "{number}");
        }
        for number in [1, 40, 42, 127, 256, 65_535] {
            assert!(!Rtype(number).is_meta(), "{number}");
        }
    }
}
