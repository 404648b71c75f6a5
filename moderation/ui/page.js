// What the page does in the browser beside Gradio: two buttons, a scroll on phones, turning points.
(function () {
  document.addEventListener("click", function (event) {
    const button = event.target.closest("[data-does]");
    if (!button) return;
    if (button.dataset.does === "theme") {
      document.body.classList.toggle("dark");
      document.querySelectorAll("canvas.cloud").forEach(function (canvas) { canvas.restart(); });
    }
    if (button.dataset.does === "copy") {
      const code = button.parentElement.querySelector("code").textContent;
      navigator.clipboard.writeText(code).then(function () {
        button.textContent = "Copied";
        setTimeout(function () { button.textContent = "Copy"; }, 1500);
      });
    }
  });

  // What a screen reader is told when a verdict comes: the verdict, and not everything about it.
  let told = null;
  function tell(place) {
    const found = place.querySelector(".verdict, .notice");
    if (!found || found.matches(".empty")) return;
    if (told === null) {
      told = document.createElement("div");
      told.setAttribute("role", "status");
      told.className = "unseen";
      document.body.append(told);
    }
    told.textContent = found.innerText;
  }

  new MutationObserver(function (changes) {
    for (const change of changes) {
      const place = change.target.closest && change.target.closest("#check-result, #models-quality");
      if (!place) continue;
      if (place.id === "check-result") tell(place);
      // On a phone the verdict stands below what was pressed.
      if (place.id === "check-result" && window.innerWidth <= 736 &&
          place.querySelector(".verdict, .notice.error"))
        place.scrollIntoView({ block: "start", behavior: "smooth" });
      place.querySelectorAll("canvas.cloud:not([data-on])").forEach(turning);
      return;
    }
  }).observe(document.documentElement, { childList: true, subtree: true });

  // Points in three dimensions: [x, y, z, group], each coordinate from -1 to 1.
  function turning(canvas) {
    canvas.dataset.on = "on";
    const points = JSON.parse(canvas.dataset.points);
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const pen = canvas.getContext("2d");
    let colours = [], across = 0.6, up = 0.35, held = null, turns = !calm, last = 0;

    canvas.restart = function () {
      const style = getComputedStyle(document.body);
      colours = canvas.dataset.colours.split(" ").map(function (name) {
        return style.getPropertyValue(name).trim();
      });
      draw();
    };

    function draw() {
      const scale = window.devicePixelRatio || 1;
      const width = canvas.clientWidth, height = canvas.clientHeight;
      if (canvas.width !== width * scale) {
        canvas.width = width * scale;
        canvas.height = height * scale;
      }
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      pen.clearRect(0, 0, width, height);
      const size = Math.min(width, height) * 0.8;
      const sa = Math.sin(across), ca = Math.cos(across), su = Math.sin(up), cu = Math.cos(up);
      const seen = points.map(function (point) {
        const x = point[0] * ca - point[2] * sa, deep = point[0] * sa + point[2] * ca;
        return [x, point[1] * cu - deep * su, point[1] * su + deep * cu, point[3]];
      }).sort(function (a, b) { return a[2] - b[2]; });
      for (const point of seen) {
        const near = 1 / (2.6 - point[2]);
        pen.globalAlpha = 0.35 + 0.6 * Math.min(1, Math.max(0, (point[2] + 1) / 2));
        pen.fillStyle = colours[point[3] % colours.length];
        pen.beginPath();
        pen.arc(width / 2 + point[0] * size * near * 2, height / 2 - point[1] * size * near * 2,
          1.2 + 3 * near, 0, 7);
        pen.fill();
      }
    }

    function step(now) {
      if (!canvas.isConnected) return;
      if (turns && held === null && canvas.offsetParent && now - last > 33) {
        across += Math.min(60, now - last) * 0.00018;
        last = now;
        draw();
      }
      requestAnimationFrame(step);
    }

    canvas.addEventListener("pointerdown", function (event) {
      held = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", function (event) {
      if (held === null) return;
      across += (event.clientX - held[0]) * 0.008;
      up += (event.clientY - held[1]) * 0.008;
      held = [event.clientX, event.clientY];
      draw();
    });
    canvas.addEventListener("pointerup", function () { held = null; });
    canvas.addEventListener("keydown", function (event) {
      const by = { ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, -0.12],
        ArrowDown: [0, 0.12] }[event.key];
      if (event.key === " ") turns = !turns;
      else if (by) { across += by[0]; up += by[1]; }
      else return;
      event.preventDefault();
      draw();
    });
    new ResizeObserver(draw).observe(canvas);
    canvas.restart();
    requestAnimationFrame(step);
  }
})();
