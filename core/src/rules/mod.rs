// SPDX-License-Identifier: GPL-3.0-or-later
//! Rules that rename, hide and group lines, and such as tell of them.

mod explain;
mod key;
mod notice_rules;
mod rule;
mod rule_set;
mod template;
mod value;
mod verdict;

pub use self::explain::{Explanation, Step};
pub use self::key::{escape, pair, process, process_and_peer};
pub use self::notice_rules::{Facts, NOTICE_WORDS, NoticeRule, NoticeRules};
pub use self::rule::RuleSection;
pub use self::rule_set::{RuleHits, RuleInfo, RuleSet};
pub use self::template::as_text;
pub use self::verdict::Verdict;
