"""Stage 7, what the logs say: one definition of each question, two engines, many renderers.

```
logs → reading → engine (embedded, or distributed) → results.Report → renderers
```

Nothing of the traced programs is needed. The event schema is the only contract with the traced
processes; `results` is the only contract between engines and renderers.
"""
