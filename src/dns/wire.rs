//! Reading wire format: names with pointers, records one by one.
