//! The two forms of text that Prometheus and those who do as it does read.

/// A form of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// What Prometheus had before, version 0.0.4; whoever does not say what is wanted gets it.
    Plain,
}

impl Format {
    /// What the values of `Accept` ask for. Of two that are wanted as much, it is OpenMetrics.
    pub(super) fn wanted<'a>(accepted: impl Iterator<Item = &'a str>) -> Format {
        let (mut openmetrics, mut plain) = (0.0, 0.0);
        for range in accepted.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            match kind.as_str() {
                "application/openmetrics-text" => openmetrics = weight.max(openmetrics),
                "text/plain" => plain = weight.max(plain),
                _ => {}
            }
        }
        if openmetrics > 0.0 && openmetrics >= plain { Format::OpenMetrics } else { Format::Plain }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What is written as OpenMetrics, in this form.
    ///
    /// In the plain one a counter's description has the name of its samples, which ends in `_total`, and there
    /// are neither units nor a mark at the end.
    pub(super) fn of_openmetrics(self, text: String) -> String {
        if self == Format::OpenMetrics {
            return text;
        }
        let mut plain = String::with_capacity(text.len() + 1024);
        let mut help: Option<(&str, &str)> = None;
        for line in text.lines() {
            if let Some(described) = line.strip_prefix("# HELP ") {
                help = described.split_once(' ');
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                let ending = if kind == "counter" { "_total" } else { "" };
                if let Some((_, text)) = help.take() {
                    plain.push_str(&format!("# HELP {name}{ending} {text}\n"));
                }
                plain.push_str(&format!("# TYPE {name}{ending} {kind}\n"));
            } else if !line.starts_with('#') {
                plain.push_str(line);
                plain.push('\n');
            }
        }
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_openmetrics_gets_it() {
        for (accept, format) in [
            ("", Format::Plain),
            ("*/*", Format::Plain),
            ("text/plain", Format::Plain),
            ("text/html, */*;q=0.8", Format::Plain),
            ("text/plain;version=0.0.4", Format::Plain),
            ("application/openmetrics-text; version=1.0.0", Format::OpenMetrics),
            ("Application/OpenMetrics-Text", Format::OpenMetrics),
            ("application/openmetrics-text;q=0, text/plain", Format::Plain),
            ("application/openmetrics-text;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.5", Format::Plain),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(Format::wanted([accept].into_iter()), format, "{accept}");
        }
        assert_eq!(Format::wanted([].into_iter()), Format::Plain);
    }

    #[test]
    fn the_plain_form_names_counters_as_their_samples_are_named() {
        let openmetrics = "# HELP a_seconds How long.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\na_seconds 1.5\n\
                           # HELP b How often.\n# TYPE b counter\nb_total{c=\"d\"} 2\n# EOF\n";
        let plain = "# HELP a_seconds How long.\n# TYPE a_seconds gauge\na_seconds 1.5\n\
                     # HELP b_total How often.\n# TYPE b_total counter\nb_total{c=\"d\"} 2\n";
        assert_eq!(Format::Plain.of_openmetrics(openmetrics.to_owned()), plain);
        assert_eq!(Format::OpenMetrics.of_openmetrics(openmetrics.to_owned()), openmetrics);
    }
}
