//! Names answered here and never forwarded (RFC 6761, RFC 6303 and their kin).
