//! Reading orders: files to `policy` values, with every problem named by file and line.
