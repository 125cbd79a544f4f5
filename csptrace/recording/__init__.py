"""What the interceptor reports to, and how it gets from there to the sinks.

    recorder → graph → publisher → judge → reporter → sinks

* `recorder`    what the interceptor reports to: each report becomes a transition of the graph.
* `publisher`   passes the changes that follow on, and has them judged, in steps if they are many.
* `reporter`    counts findings, and hands them to a list of sinks.
* `reactions`   what the program gets to see of a finding: nothing, a warning, an exception.
* `diagnostics` what csptrace says of itself: complaints, and its own bugs.
"""
