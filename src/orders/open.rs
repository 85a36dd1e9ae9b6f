//! Files that an order or a list names, as whoever reads it gets them.

/// Opens a names file by the path an order gives, which is relative to the order file's directory.
pub type Open<'a> = dyn FnMut(&str) -> ListFile + 'a;

/// A names file, or why there is none.
pub struct ListFile {
    /// The file as the operator would name it.
    pub shown: String,
    /// What it holds, or what is wrong and what to do.
    pub content: Result<Content, (String, String)>,
}

/// What a names file holds.
pub enum Content {
    /// These octets.
    Octets(Vec<u8>),
    /// Names that were read, checked and compiled before: the order is read without them.
    Known,
}
