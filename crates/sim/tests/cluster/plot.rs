//! Draws counts over time as an SVG.

const WIDTH: f64 = 860.0;
const PANEL_HEIGHT: f64 = 250.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 34.0;
const COLORS: [&str; 5] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b"];

/// A named line: minutes and counts.
pub(crate) type Line = (&'static str, Vec<(f64, usize)>);

/// A diagram with its own axes.
pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// Panels below each other.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let height = PANEL_HEIGHT * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (number, panel) in panels.iter().enumerate() {
        draw(&mut out, panel, PANEL_HEIGHT * number as f64);
    }
    out.push_str("</svg>\n");
    out
}

/// The smallest of 1, 2, 5, 10, 20, … that isn't below a number.
fn round_up(number: f64) -> f64 {
    let power = 10_f64.powf(number.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= number).unwrap_or(10.0 * power)
}

fn draw(out: &mut String, panel: &Panel, above: f64) {
    let points = || panel.lines.iter().flat_map(|(_, points)| points);
    let minutes = points().map(|point| point.0).fold(1.0, f64::max);
    let most = round_up(points().map(|point| point.1).max().unwrap_or(1) as f64);
    let (right, bottom) = (WIDTH - RIGHT, above + PANEL_HEIGHT - BOTTOM);
    let x = |minute: f64| LEFT + (right - LEFT) * minute / minutes;
    let y = |count: f64| bottom - (bottom - above - TOP) * count / most;
    out.push_str(&format!(
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>\n",
        above + 22.0,
        panel.title
    ));
    for part in 0..=4 {
        let count = most * f64::from(part) / 4.0;
        let at = y(count);
        out.push_str(&format!(
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n"
        ));
        out.push_str(&format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{count}</text>\n",
            LEFT - 6.0,
            at + 4.0
        ));
        let minute = minutes * f64::from(part) / 4.0;
        out.push_str(&format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{minute:.0} min</text>\n",
            x(minute),
            bottom + 16.0
        ));
    }
    for (number, (name, points)) in panel.lines.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let points: Vec<String> = points
            .iter()
            .map(|&(minute, count)| format!("{:.1},{:.1}", x(minute), y(count as f64)))
            .collect();
        out.push_str(&format!(
            "<polyline fill=\"none\" stroke=\"{color}\" points=\"{}\"/>\n",
            points.join(" ")
        ));
        let at = above + TOP + 16.0 * number as f64;
        out.push_str(&format!("<line x1=\"{}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" stroke=\"{color}\" stroke-width=\"3\"/>\n",
            right + 12.0,
            right + 30.0));
        out.push_str(&format!("<text x=\"{}\" y=\"{}\">{name}</text>\n", right + 36.0, at + 4.0));
    }
}
