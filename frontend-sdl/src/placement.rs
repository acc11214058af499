// SPDX-License-Identifier: GPL-3.0-or-later
//! Where on a screen the overlay stands, as its config says, and always as a whole.

use leco_core::config::{Anchor, WindowSettings};

/// From where a distance counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Left, or top.
    Start,
    /// From none: it is in the middle.
    Middle,
    /// Right, or bottom.
    End,
}

/// A place along one side of the screen, in the units of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The edge from which it is counted.
    pub edge: Edge,
    /// Distance from that edge.
    pub margin: i32,
    /// How long the window is.
    pub length: i32,
}

impl Placement {
    fn new(edge: Edge, offset: i32, length: i32, screen: i32) -> Self {
        let length = length.clamp(1, screen.max(1));
        // What is below 0 counts from the far edge.
        let edge = match edge {
            Edge::Start if offset < 0 => Edge::End,
            Edge::End if offset < 0 => Edge::Start,
            _ => edge,
        };
        let margin = offset.saturating_abs().min(screen - length).max(0);
        Self { edge, margin, length }
    }

    /// Where it begins on a screen of this length.
    #[must_use]
    pub fn start(self, screen: i32) -> i32 {
        let rest = (screen - self.length).max(0);
        match self.edge {
            Edge::Start => self.margin,
            Edge::Middle => rest / 2,
            Edge::End => rest - self.margin,
        }
    }
}

/// Where it is horizontally and vertically on a screen of this size, where a pixel of the config is `unit` of it.
#[must_use]
#[allow(clippy::cast_possible_truncation)]
pub fn placement(settings: &WindowSettings, unit: f32, (width, height): (i32, i32)) -> [Placement; 2] {
    let (horizontal, vertical) = edges(settings.anchor);
    let scaled = |length: f32| (length * unit).round() as i32;
    let [left, top] =
        [settings.init_offset_left, settings.init_offset_top].map(|offset| scaled(offset as f32));
    let [wide, high] = [settings.init_width, settings.init_height].map(|length| scaled(length as f32));
    [Placement::new(horizontal, left, wide, width), Placement::new(vertical, top, high, height)]
}

fn edges(anchor: Anchor) -> (Edge, Edge) {
    match anchor {
        Anchor::TopLeft => (Edge::Start, Edge::Start),
        Anchor::Top => (Edge::Middle, Edge::Start),
        Anchor::TopRight => (Edge::End, Edge::Start),
        Anchor::Left => (Edge::Start, Edge::Middle),
        Anchor::Center => (Edge::Middle, Edge::Middle),
        Anchor::Right => (Edge::End, Edge::Middle),
        Anchor::BottomLeft => (Edge::Start, Edge::End),
        Anchor::Bottom => (Edge::Middle, Edge::End),
        Anchor::BottomRight => (Edge::End, Edge::End),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(anchor: Anchor, left: i32, top: i32, unit: f32) -> (i32, i32) {
        let settings = WindowSettings {
            anchor,
            init_offset_left: left,
            init_offset_top: top,
            init_width: 600,
            init_height: 400,
            ..WindowSettings::default()
        };
        let [horizontal, vertical] = placement(&settings, unit, (1000, 500));
        (horizontal.start(1000), vertical.start(500))
    }

    #[test]
    fn offsets_count_from_the_edges_of_the_anchor() {
        assert_eq!(starts(Anchor::TopLeft, 20, 40, 1.0), (20, 40));
        assert_eq!(starts(Anchor::TopRight, 20, 40, 1.0), (380, 40));
        assert_eq!(starts(Anchor::BottomRight, 20, 40, 1.0), (380, 60));
        assert_eq!(starts(Anchor::Bottom, 20, 40, 1.0), (200, 60));
        assert_eq!(starts(Anchor::Center, 20, 40, 1.0), (200, 50));
        assert_eq!(starts(Anchor::TopRight, 20, 40, 0.5), (690, 20));
    }

    #[test]
    fn below_zero_they_count_from_the_far_edge() {
        assert_eq!(starts(Anchor::TopLeft, -20, -40, 1.0), (380, 60));
        assert_eq!(starts(Anchor::BottomRight, -20, -40, 1.0), (20, 40));
    }

    #[test]
    fn what_would_be_cut_moves_in() {
        assert_eq!(starts(Anchor::TopLeft, 700, 300, 1.0), (400, 100));
        assert_eq!(starts(Anchor::BottomRight, 16_000, i32::MAX, 1.0), (0, 0));
        assert_eq!(starts(Anchor::TopLeft, 20, 40, 2.0), (0, 0), "larger than the screen");
        let nothing = placement(&WindowSettings::default(), 1.0, (0, 0));
        assert!(nothing.iter().all(|placement| placement.length == 1 && placement.start(0) == 0));
    }
}
