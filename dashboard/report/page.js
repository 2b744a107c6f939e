// Draws the charts when they come into view, light or dark as the reader's system is; on paper light.
"use strict";
(() => {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const charts = [...document.querySelectorAll(".chart")];
  const drawn = new Set();

  // What differs on a dark ground is listed as paths and values.
  function figure(chart, dark) {
    const told = JSON.parse(document.getElementById(chart.dataset.figure).textContent);
    for (const [path, value] of dark ? told.dark : []) {
      const last = path.pop();
      path.reduce((place, step) => place[step], told)[last] = value;
    }
    return told;
  }

  function draw(chart, dark) {
    const told = figure(chart, dark);
    const options = { displayModeBar: false, responsive: true };
    Plotly.react(chart, told.data, told.layout, options);
    drawn.add(chart);
  }

  const near = new IntersectionObserver(
    (seen) => {
      for (const { isIntersecting, target } of seen) {
        if (isIntersecting && !drawn.has(target)) draw(target, scheme.matches);
      }
    },
    { rootMargin: "400px" },
  );
  charts.forEach((chart) => near.observe(chart));
  scheme.addEventListener("change", () => drawn.forEach((chart) => draw(chart, scheme.matches)));
  addEventListener("beforeprint", () => charts.forEach((chart) => draw(chart, false)));
  addEventListener("afterprint", () => drawn.forEach((chart) => draw(chart, scheme.matches)));
})();
