//! The figures of `flood` as a picture: bars from zero, on a linear scale.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::tables::{cost, grouped, mixes, number, rows, text};

// Lengths in pixels.
const WIDTH: f64 = 760.0;
const MARGIN: f64 = 24.0;
/// Where bars start, and where the longest ends.
const BARS_FROM: f64 = 210.0;
const BARS_TO: f64 = 640.0;
const ROW: f64 = 28.0;
const HEADING: f64 = 40.0;
const TOP: f64 = 74.0;

/// Colours on light and on dark ground.
const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}\
.title{font-size:16px;font-weight:600}.mix{font-weight:600}.note{fill:#59636e;font-size:12px}\
.ground{fill:#fff;stroke:#d1d9e0}.knee{fill:#8c959f}.flood{fill:#d1d9e0}\
.own .knee{fill:#1a7f37}.own .flood{fill:#7bc48d}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.note{fill:#9198a1}\
.ground{fill:#0d1117;stroke:#3d444d}.knee{fill:#7d8590}.flood{fill:#3d444d}\
.own .knee{fill:#3fb950}.own .flood{fill:#23702f}}";

/// Draws them.
pub fn draw(flood: &Value) -> Result<String> {
    ensure!(!flood.is_null(), "there are no figures of `flood` to draw");
    let mixes = mixes(flood)?;
    let longest = mixes
        .iter()
        .map(|mix| rows(flood, mix))
        .collect::<Result<Vec<_>>>()?
        .concat()
        .into_iter()
        .filter(|row| row["void"].is_null())
        .flat_map(|row| ["flood", "below_knee"].map(|when| cost(row, when)))
        .fold(0.0, f64::max);
    let mut body = String::new();
    let mut y = TOP;
    for mix in mixes {
        write!(body, r#"<text class="mix" x="{MARGIN}" y="{}">{mix}</text>"#, y + HEADING - 14.0)?;
        body.push('\n');
        y += HEADING;
        for row in rows(flood, mix)? {
            draw_row(&mut body, row, y, longest)?;
            y += ROW;
        }
    }
    let height = y + MARGIN;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"CPU time of the server per answer\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"34\">CPU time of the server per answer, in \
         nanoseconds</text>\n\
         <text class=\"note\" x=\"{MARGIN}\" y=\"54\">Less is better. Dark: at 80 % of the highest rate \
         that is answered. Light, and in brackets: in a flood.</text>\n{body}</svg>\n",
        WIDTH - 1.0,
        height - 1.0,
    ))
}

fn draw_row(body: &mut String, row: &Value, y: f64, longest: f64) -> Result<()> {
    let target = text(&row["target"]);
    let own = target.starts_with("sealdns");
    let title = text(&row["title"]);
    let [by_xdp, by_tcx] = ["by_xdp", "by_tcx"].map(|by| number(&row[by]) * 100.0);
    // What XDP has left to others must not look like its own.
    let share = if target == "sealdns" && by_xdp < 99.5 {
        format!(", {by_xdp:.0} % by XDP, {by_tcx:.0} % by TCX")
    } else {
        String::new()
    };
    write!(body, r#"<g{}>"#, if own { r#" class="own""# } else { "" })?;
    write!(body, r#"<text x="{MARGIN}" y="{}">{title}{share}</text>"#, y + 14.0)?;
    let [knee, flood] = ["below_knee", "flood"].map(|when| cost(row, when));
    let length = |cost: f64| (BARS_TO - BARS_FROM) * cost / longest;
    let end = if let Some(why) = row["void"].as_str() {
        write!(body, r#"<text class="note" x="{BARS_FROM}" y="{}">void: {why}</text>"#, y + 14.0)?;
        None
    } else {
        for (class, cost, top) in [("knee", knee, y), ("flood", flood, y + 10.0)] {
            let width = length(cost);
            write!(
                body,
                r#"<rect class="{class}" x="{BARS_FROM}" y="{top}" width="{width:.1}" height="9"/>"#
            )?;
        }
        Some(BARS_FROM + length(knee.max(flood)) + 8.0)
    };
    if let Some(x) = end {
        let (knee, flood) = (grouped(knee), grouped(flood));
        write!(body, r#"<text x="{x:.1}" y="{}">{knee} ({flood})</text>"#, y + 14.0)?;
    }
    body.push_str("</g>\n");
    Ok(())
}
