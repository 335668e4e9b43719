"""How the plan sheet looks, on a screen and on paper of either size."""

#: A4 has 297 mm by 210 mm and Letter 279 mm by 216 mm: what stands in 190 mm by 259 mm prints on both.
STYLE = """
:root { --ink: #14181d; --grey: #55616f; --line: #b9c3ce; --soft: #eef2f6; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff;
  font: 8.6pt/1.32 "DejaVu Sans", Arial, Helvetica, sans-serif; }
main { width: 190mm; margin: 0 auto; padding: 4mm 0; }
p { margin: 1mm 0; }
header { display: flex; justify-content: space-between; align-items: baseline; gap: 6mm; }
h1 { font-size: 15pt; margin: 0; } header p { font-size: 10pt; margin: 0; text-align: right;
  overflow-wrap: anywhere; }
.notice { border: .6mm solid #a1003c; color: #a1003c; font-weight: 700; padding: 1mm 2mm; }
.against { border-left: .9mm solid #b36b00; padding: 0 2mm; margin: 1.2mm 0; font-size: 7.2pt; line-height: 1.22; }
.against p { margin: .4mm 0; }
.needles { border-collapse: collapse; table-layout: fixed; width: 100%; margin: 1.5mm 0; }
.needles thead th:first-child { width: 6mm; }
.needles thead th:nth-child(2), .needles thead th:nth-child(3) { width: 47mm; }
.needles thead th:nth-child(4), .needles thead th:nth-child(5) { width: 17mm; }
.needles thead th:nth-child(7) { width: 23mm; }
.needles th, .needles td { text-align: left; vertical-align: top; padding: .7mm 1.4mm; }
.needles thead th { background: var(--soft); font-weight: 600; border-bottom: .4mm solid var(--grey); }
.needles tbody { border-bottom: .25mm solid var(--line); break-inside: avoid; }
.needles tbody th { font-size: 13pt; line-height: 1; padding-top: 1.2mm; }
.needles td { overflow-wrap: anywhere; } .needles td.point { white-space: pre; }
.needles tr + tr td { padding-top: 0; color: #2b333c; font-size: 7.4pt; line-height: 1.25; }
small { color: #a1003c; white-space: nowrap; font-size: 6.4pt; }
.pictures { display: grid; gap: 1.5mm; margin: 1.5mm 0; }
.pictures.many { padding: 0 16mm; }
figure { margin: 0; break-inside: avoid; } figure img { display: block; width: 100%; height: auto; }
.conventions { display: grid; grid-template-columns: 30mm 30mm 1fr; gap: 3mm; align-items: center;
  border-top: .25mm solid var(--line); padding-top: 1mm; font-size: 7pt; color: var(--grey);
  break-inside: avoid; }
.conventions svg { width: 100%; height: auto; }
.signatures { display: grid; grid-template-columns: 1fr 1fr 1fr; gap: 8mm;
  margin: 8mm 0 1.5mm; break-inside: avoid; }
.signatures span { border-top: .3mm solid var(--ink); padding-top: .6mm; color: var(--grey); font-size: 7.5pt; }
footer { display: flex; justify-content: space-between; gap: 5mm; color: var(--grey); font-size: 6pt; }
footer span:first-child { white-space: nowrap; } footer span + span { text-align: right; }
code { font: 6pt "DejaVu Sans Mono", Menlo, Consolas, monospace; }
@media print { @page { margin: 10mm; } main { padding: 0; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""
