"use strict";
{
  const source = document.getElementById("charts").textContent;
  const config = { displayModeBar: false, responsive: true };

  // Colours stand in the specification as CSS variables: look them up each time the style changes.
  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const themed = source.replace(/var\((--[a-z-]+)\)/g, (_, name) => style.getPropertyValue(name).trim());
    const charts = JSON.parse(themed);
    for (const place of document.querySelectorAll("[data-chart]")) {
      const { data, layout } = charts[place.dataset.chart];
      Plotly.react(place, data, { ...layout, width: place.clientWidth, height: place.clientHeight }, config);
    }
  };

  draw();
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", draw);
  }
  addEventListener("resize", draw);
}
