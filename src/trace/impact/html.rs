use super::report::Report;
pub(super) fn page(_report: &Report, _top: usize) -> String {
    String::new()
}
