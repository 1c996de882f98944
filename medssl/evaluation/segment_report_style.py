"""The look of the page about segmented scans."""

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;color:#1d2329;background:#f5f6f8;
max-width:1240px;margin:2em auto;padding:0 1.5em}
h1{font-size:1.6em;margin:.2em 0}h2{font-size:1.2em;margin:1.8em 0 .5em}h3{margin:0;font-size:1.05em}
section{background:#fff;border:1px solid #dde1e6;border-radius:8px;padding:.9em 1.1em;margin:.8em 0}
.scan{display:flex;gap:1.2em;align-items:flex-start;flex-wrap:wrap}.scan img{max-width:100%;border-radius:4px}
table{border-collapse:collapse}td,th{padding:.16em .7em .16em 0;text-align:left;vertical-align:top}
th{font-weight:600;color:#5a646e}td:nth-child(2){white-space:nowrap;font-variant-numeric:tabular-nums}
.pairs td{white-space:normal}.pairs th{white-space:nowrap}
.tiles{display:flex;gap:1em;margin:1em 0;flex-wrap:wrap}
.tiles div{background:#fff;border:1px solid #dde1e6;border-radius:8px;padding:.5em 1.2em}
.tiles b{display:block;font-size:1.7em}
.chip{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.5em}
.legend span{margin-right:1.3em;white-space:nowrap}
.bar{display:inline-block;width:70px;height:.6em;background:#e6e9ed;border-radius:3px;margin-right:.5em}
.bar i{display:block;height:100%;border-radius:3px}.sure{background:#2f7d4f}.unsure{background:#c98a1b}
.flag{display:inline-block;background:#fdebd0;color:#7a4300;border-radius:4px;padding:0 .45em;margin:0 .3em .15em 0}
.file,.note{color:#5a646e;margin:.1em 0 .5em}.note{color:#7a4300}
.short{font-size:1.1em}
.warning{background:#fff7e0;border-left:4px solid #c98a1b;padding:.5em .9em}
"""
