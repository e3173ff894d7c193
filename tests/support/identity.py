"""
The identity: received = stored + dead-lettered + filtered + dropped + returned + pending, for every output, at every moment.
"""
import re

OUTCOMES = ("stored", "dead_lettered", "filtered", "dropped_full", "dropped_shutdown", "returned",
            "expired", "damaged", "before_restart")
_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)\Z")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Metrics(dict):
    """Samples of one scrape: (name, frozenset of labels) -> value; names as in the text, without "heliograf_"."""

    @classmethod
    def parse(cls, text):
        metrics = cls()
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            match = _SAMPLE.match(line)
            if match is None:
                raise AssertionError(f"not Prometheus text: {line!r}")
            name = match.group(1).removeprefix("heliograf_")
            key = name, frozenset(_LABEL.findall(match.group(2) or ""))
            if key in metrics:
                raise AssertionError(f"sample twice: {line!r}")
            metrics[key] = float(match.group(3))
        return metrics

    def sum(self, name, **labels):
        """All samples of that name, with or without "heliograf_", that carry these labels, added up."""
        name, wanted = name.removeprefix("heliograf_"), set(labels.items())
        return sum(value for (sample, having), value in self.items() if sample == name and wanted <= having)

    def has(self, name, **labels):
        wanted = set(labels.items())
        return any(sample == name and wanted <= having for sample, having in self)

    def label_values(self, name, label):
        """Every value of the label over the samples of that name."""
        return sorted({value for sample, having in self if sample == name for key, value in having if key == label})


def imbalances(metrics):
    """What does not add up, in words; an empty list when all does."""
    complaints = []
    received = metrics.sum("messages_received_total")
    outputs = metrics.label_values("messages_pending", "output")
    if not metrics.has("messages_received_total") or not outputs:
        return ["the ledger's figures are missing from the metrics"]
    for output in outputs:
        parts = {outcome: metrics.sum("messages_total", output=output, outcome=outcome) for outcome in OUTCOMES}
        parts["pending"] = metrics.sum("messages_pending", output=output)
        unknown = set(dict(labels)["outcome"] for name, labels in metrics
                      if name == "messages_total" and ("output", output) in labels) - set(OUTCOMES)
        if unknown:
            complaints.append(f"output {output}: outcomes that the identity does not know: {sorted(unknown)}")
        if received != sum(parts.values()):
            complaints.append(f"output {output}: {received:.0f} received, but {sum(parts.values()):.0f} accounted for: {parts}")
        if any(value < 0 for value in parts.values()):
            complaints.append(f"output {output}: a negative figure: {parts}")
    return complaints


def arrivals_balance(metrics):
    """
    What came over MQTT is in the ledger, or was left out on purpose and counted. The two are not counted in one moment, so this
    holds only while nothing arrives.
    """
    left_out = sum(metrics.sum(f"mqtt_{what}_total") for what in ("retained_skipped", "redeliveries_suppressed", "overlap_copies", "messages_dropped"))
    # Refused ones stay with the broker; those that the sink itself refused are in the ledger, too, as returned.
    outputs = metrics.label_values("messages_pending", "output")
    returned = metrics.sum("messages_total", output=outputs[0], outcome="returned") if outputs else 0
    left_out += metrics.sum("mqtt_messages_refused_total") - returned
    arrived = (metrics.sum("messages_received_total") - metrics.sum("spool_recovered_messages_total") -
               metrics.sum("dead_letters_replayed_total"))
    return metrics.sum("mqtt_messages_received_total") == arrived + left_out


def assert_identity(metrics):
    """Raises with every output's account that does not balance."""
    complaints = imbalances(metrics)
    if complaints:
        raise AssertionError("the identity is violated:\n  " + "\n  ".join(complaints))
