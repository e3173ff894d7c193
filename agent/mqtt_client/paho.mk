# How Paho's static archive is linked: `paho` is what must exist first, `paho_link` goes behind our own archive.
paho      :=
paho_link := -l:libpaho-mqtt3as.a
