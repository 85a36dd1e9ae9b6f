//! Everything wired together; the only file that sees all modules.
