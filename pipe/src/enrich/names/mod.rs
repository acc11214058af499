// SPDX-License-Identifier: GPL-3.0-or-later
//! Names of peers, from the answers of name servers that processes received: nobody is asked, but by `reverse`.

pub mod answer;
pub(crate) mod home;
pub mod reverse;
pub(crate) mod standing;
pub mod table;
