"""The intent token and the other packets: fields, quantised plans, checksums, codec."""
