//! Everything wired together; the only file that sees all modules.

use crate::config::Config;
use crate::problem::Problem;

/// Serves until a signal ends it.
///
/// # Errors
/// What kept it from starting.
pub fn run(config: Config) -> Result<(), Vec<Problem>> {
    crate::control::log::init(config.log);
    Ok(())
}
