//! When the end of a child is the end of its supervisor, as `auto_shutdown` in `supervisor.erl`.

use std::error::Error;
use std::fmt;

use crate::{Restart, Strategy};

/// Whether a supervisor shuts itself down when its significant children are done.
///
/// A child is *significant* if it is what the supervisor is there for: a request whose helpers are
/// to go with it, the last worker of a job. What counts is that it ends for good by itself:
///
/// | a significant child      | counts |
/// |--------------------------|--------|
/// | transient, ends clean    | yes    |
/// | transient, fails         | no: it is started again |
/// | temporary, however it ends | yes  |
/// | is stopped by order ([`Law::stopped`](crate::Law::stopped)) | no |
/// | is stopped along with its group | no |
///
/// [`Never`](Self::Never) by default, as in OTP: a supervisor is there to go on.
///
/// # Examples
///
/// ```
/// use greenroom_supervision::{AutoShutdown, BadCombination, Restart, Strategy};
///
/// let all = AutoShutdown::AllSignificant;
/// assert_eq!(all.check_child(Restart::Transient), Ok(()));
/// assert_eq!(all.check_child(Restart::Permanent), Err(BadCombination::Permanent));
/// assert_eq!(all.check_strategy(Strategy::Dynamic), Err(BadCombination::Dynamic));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AutoShutdown {
    /// It goes on without them.
    #[default]
    Never,
    /// The first end of one of them ends it.
    AnySignificant,
    /// The end of the last of them ends it.
    ///
    /// One that waits for its restart is not done.
    AllSignificant,
}

impl AutoShutdown {
    /// Checks whether a child of this restart type may be significant here.
    ///
    /// The law itself takes any child: by [`Law::set_auto_shutdown`](crate::Law::set_auto_shutdown)
    /// children that were allowed get under a rule by which they would not be, and just stay.
    ///
    /// # Errors
    ///
    /// [`BadCombination::Never`] where nobody's end counts, or else [`BadCombination::Permanent`]
    /// for a child that does not end for good.
    pub const fn check_child(self, restart: Restart) -> Result<(), BadCombination> {
        match (self, restart) {
            (Self::Never, _) => Err(BadCombination::Never),
            (_, Restart::Permanent) => Err(BadCombination::Permanent),
            (_, Restart::Transient | Restart::Temporary) => Ok(()),
        }
    }

    /// Checks whether a supervisor of this strategy may shut itself down by this rule.
    ///
    /// # Errors
    ///
    /// [`BadCombination::Dynamic`], unless the rule is [`Never`](Self::Never): children that come
    /// and go are no reason to end.
    pub const fn check_strategy(self, strategy: Strategy) -> Result<(), BadCombination> {
        match (self, strategy) {
            (Self::AnySignificant | Self::AllSignificant, Strategy::Dynamic) => {
                Err(BadCombination::Dynamic)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for AutoShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Never => "never",
            Self::AnySignificant => "any_significant",
            Self::AllSignificant => "all_significant",
        })
    }
}

/// Two settings that contradict each other, OTP's `bad_combination`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadCombination {
    /// A significant child of a supervisor that never shuts itself down.
    Never,
    /// A significant child that is permanent, and so never ends for good.
    Permanent,
    /// A dynamic supervisor that is to shut itself down.
    Dynamic,
}

impl fmt::Display for BadCombination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => {
                "a significant child needs a supervisor that shuts itself down: set its auto-shutdown to any or all significant children, or do not call the child significant"
            }
            Self::Permanent => {
                "a permanent child never ends for good and so cannot be significant: make it transient or temporary, or do not call it significant"
            }
            Self::Dynamic => {
                "a dynamic supervisor cannot shut itself down: leave its auto-shutdown at never, or give it another strategy"
            }
        })
    }
}

impl Error for BadCombination {}
