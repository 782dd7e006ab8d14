// SPDX-License-Identifier: Apache-2.0

extension Report {
  /// The page's style: system fonts, no network, light or dark as the reader's system is.
  static let style = """
    :root {
      color-scheme: light dark;
      --page: #ffffff; --panel: #f6f7f9; --text: #1c2330; --quiet: #5c6675; --line: #d9dde3;
      --c0: #2563c9; --c1: #c2410c; --c2: #15803d; --c3: #8b3fb0;
      --c4: #0e7490; --c5: #a16207; --c6: #be185d; --c7: #4b5563; --good: #15803d; --bad: #b91c1c;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --page: #14171c; --panel: #1d2129; --text: #e6e9ee; --quiet: #9aa4b2; --line: #353b46;
        --c0: #7cacff; --c1: #fb923c; --c2: #4ade80; --c3: #d8a0f5;
        --c4: #22d3ee; --c5: #facc15; --c6: #f472b6; --c7: #9ca3af; --good: #4ade80;
        --bad: #f87171;
      }
    }
    * { box-sizing: border-box; }
    body {
      margin: 0; background: var(--page); color: var(--text);
      font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
    }
    main { max-width: 1040px; margin: 0 auto; padding: 28px 20px 60px; }
    h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
    h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; }
    h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
    p { margin: .4rem 0 .8rem; max-width: 46rem; }
    .quiet { color: var(--quiet); font-size: .92rem; }
    .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px;
      margin: 1.2rem 0; }
    .tile { background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
      padding: 12px 14px; }
    .tile b { display: block; font-size: 1.35rem; line-height: 1.3;
      font-variant-numeric: tabular-nums; white-space: nowrap; }
    .tile span { color: var(--quiet); font-size: .88rem; }
    .scroll { overflow-x: auto; }
    table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
      font-size: .95rem; }
    th, td { text-align: left; padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line);
      vertical-align: top; }
    th { font-weight: 600; }
    td.n, th.n { text-align: right; white-space: nowrap; }
    td small { color: var(--quiet); display: block; font-size: .82rem; }
    .charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr));
      gap: 14px; margin-bottom: 1rem; }
    .small { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 240px), 1fr));
      gap: 10px; }
    .small figure.chart { padding: 8px 10px 4px; } .small figcaption { font-size: .85rem; }
    figure.chart { margin: 0; background: var(--panel); border: 1px solid var(--line);
      border-radius: 8px; padding: 12px 12px 6px; }
    figcaption { font-weight: 600; font-size: .95rem; }
    .legend { margin: .2rem 0 0; font-size: .85rem; color: var(--quiet); }
    .legend span { margin-right: 14px; white-space: nowrap; }
    .key { display: inline-block; width: 16px; height: 0; border-top: 3px solid; margin-right: 6px;
      vertical-align: middle; }
    .key.guide { border-top: 2px dashed var(--quiet); }
    .key.c0 { border-color: var(--c0); } .key.c1 { border-color: var(--c1); }
    .key.c2 { border-color: var(--c2); } .key.c3 { border-color: var(--c3); }
    .key.c4 { border-color: var(--c4); } .key.c5 { border-color: var(--c5); }
    .key.c6 { border-color: var(--c6); } .key.c7 { border-color: var(--c7); }
    .key.more { border-top-style: dashed; }
    svg { display: block; width: 100%; height: auto; }
    svg text { fill: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums; }
    svg .label { fill: var(--text); font-size: 12.5px; }
    svg .grid { stroke: var(--line); stroke-width: 1; }
    svg .axis { stroke: var(--quiet); stroke-width: 1; fill: none; }
    svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
    svg .whisker { stroke-width: 1.5; opacity: .65; }
    svg .guide { stroke: var(--quiet); stroke-width: 1.5; stroke-dasharray: 5 5; }
    svg .c0 { stroke: var(--c0); } svg .c1 { stroke: var(--c1); }
    svg .c2 { stroke: var(--c2); } svg .c3 { stroke: var(--c3); }
    svg .c4 { stroke: var(--c4); } svg .c5 { stroke: var(--c5); }
    svg .c6 { stroke: var(--c6); } svg .c7 { stroke: var(--c7); }
    svg .line.more { stroke-dasharray: 7 3; }
    svg .mark { stroke: var(--bad); stroke-width: 1.2; stroke-dasharray: 3 3; }
    svg .dot { stroke: none; }
    svg .dot.c0 { fill: var(--c0); } svg .dot.c1 { fill: var(--c1); }
    svg .dot.c2 { fill: var(--c2); } svg .dot.c3 { fill: var(--c3); }
    svg .dot.c4 { fill: var(--c4); } svg .dot.c5 { fill: var(--c5); }
    svg .dot.c6 { fill: var(--c6); } svg .dot.c7 { fill: var(--c7); }
    .pair { border: 1px solid var(--line); border-radius: 8px; margin: 0 0 12px; overflow: hidden; }
    .pair h3 { font-size: .98rem; margin: 0; padding: 9px 14px; background: var(--panel);
      border-bottom: 1px solid var(--line); white-space: pre-wrap; overflow-wrap: anywhere; }
    .pair > div { display: grid; grid-template-columns: 1fr 1fr; }
    .pair section { padding: 9px 14px 12px; min-width: 0; }
    .pair section + section { border-left: 1px solid var(--line); }
    .pair blockquote { margin: .35rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; }
    .pair .cut { color: var(--quiet); }
    @media (max-width: 680px) {
      .pair > div { grid-template-columns: 1fr; }
      td.n small { white-space: normal; }
      .pair section + section { border-left: 0; border-top: 1px solid var(--line); }
    }
    .up { color: var(--good); } .down { color: var(--bad); }
    dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0 0 0 1.2rem; max-width: 46rem; }
    .pair h3 .up, .pair h3 .down, .pair h3 .quiet { font-weight: 400; font-size: .85rem;
      margin-left: 8px; white-space: nowrap; }
    details > summary { margin-bottom: .6rem; }
    details { margin: .6rem 0; } summary { cursor: pointer; }
    code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .9em; }

    """
}
