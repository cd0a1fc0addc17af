#!/usr/bin/env python3
"""Prints the slowest tests of the last run, seconds first: tests/slowest.py [COUNT [JUNIT.XML]]."""

import sys
from xml.etree import ElementTree

count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
path = sys.argv[2] if len(sys.argv) > 2 else "target/nextest/default/junit.xml"
tests = ElementTree.parse(path).getroot().iter("testcase")
times = sorted(((float(test.get("time")), test.get("name")) for test in tests), reverse=True)
print(f"{len(times)} tests, {sum(time for time, _ in times):.0f} s in all")
for time, name in times[:count]:
    print(f"{time:8.1f}  {name}")
