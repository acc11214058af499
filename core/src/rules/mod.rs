// SPDX-License-Identifier: GPL-3.0-or-later
//! Rules that rename, hide and group lines.

mod explain;
mod rule;
mod rule_set;
mod template;
mod value;
mod verdict;

pub use self::explain::{Explanation, Step};
pub use self::rule::RuleSection;
pub use self::rule_set::{RuleHits, RuleInfo, RuleSet};
pub use self::template::as_text;
pub use self::verdict::Verdict;
