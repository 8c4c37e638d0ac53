"""The mistakes the loss doctor knows, in words: what is wrong, a hint, a second hint."""

# code: (what is wrong, first hint, second hint). Their order is the order of `Diagnosis.faults`.
_ALL = {
    "not_started": (
        "Nothing came back yet: the gap is still open, or its `return` is missing.",
        "Write the equation in words first: which tensors go in, and what is the shape of what comes out?",
        "Start with one line that has the right shape, check it, and go on from there.",
    ),
    "raises": (
        "Your code stops with an error.",
        "Read the last line of the error: it names the operation that failed.",
        "Print the `.shape` of each tensor just before that operation.",
    ),
    "timeout": (
        "Your code did not come to an end within five seconds.",
        "Is there a loop whose condition never becomes false?",
        "This exercise needs no `while`: tensor operations work on the whole batch at once.",
    ),
    "wrong_type": (
        "What came back is not a torch tensor.",
        "Stay with torch operations from the first line to the last: gradients flow only through them.",
        "Take out `.numpy()`, `.tolist()` and `float(...)`; for a list of tensors use `torch.stack`.",
    ),
    "wrong_shape": (
        "What came back has the wrong shape.",
        "Which dimensions are summed, and which one must stay?",
        "One number per example: `.flatten(1).sum(1)` keeps the batch. A loss is one number: `.mean()` at the end.",
    ),
    "sign": (
        "A sign is flipped.",
        "A KL is never negative, and a reconstruction loss grows when the picture gets worse.",
        "KL = ½ Σ (σ² + μ² − 1 − log σ²): compare the sign of each of the four terms.",
    ),
    "missing_half": (
        "The factor ½ is missing.",
        "Where does the ½ of the normal density's exponent go?",
        "The ½ stands before the whole bracket: `0.5 * (...)`.",
    ),
    "std_for_variance": (
        "σ stands where σ² belongs.",
        "Try σ = 2: σ is 2, σ² is 4. Which one does the equation ask for?",
        "σ² = exp(logvar), and σ = exp(logvar / 2).",
    ),
    "log_std_for_logvar": (
        "log σ stands where log σ² belongs.",
        "log σ² = 2 log σ: the two differ by a factor of 2.",
        "`logvar` is log σ² already: use it as it is.",
    ),
    "exp_logvar_as_std": (
        "exp(logvar) is used as the standard deviation; it is the variance.",
        "logvar = log σ². What is exp(logvar)?",
        "σ = exp(logvar / 2), in code `torch.exp(0.5 * logvar)`.",
    ),
    "mean_over_pixels": (
        "The pixels are averaged; a log-likelihood sums them.",
        "Pixels are independent given z: their probabilities multiply, so their logarithms …?",
        "Use reduction='none', then sum over all pixels of an image. The mean makes β count 784 times as much.",
    ),
    "mean_over_latents": (
        "The latents are averaged; the KL of independent dimensions is their sum.",
        "Two independent latents: is their joint KL the sum or the mean?",
        "Use `.sum(1)` over the latents.",
    ),
    "sum_over_batch": (
        "The batch is summed up.",
        "What happens to the size of your steps when the batch is twice as large?",
        "Keep one number per example; the loss then takes the batch's mean.",
    ),
    "beta_ignored": (
        "β does not weigh the KL: ∂loss/∂β must be the KL.",
        "Call your loss with beta=0 and with beta=100: which part should change?",
        "loss = (reconstruction + beta * kl).mean()",
    ),
    "noise_missing": (
        "There is no noise: the code is a value, not a draw.",
        "What is the difference between the mean of q(z|x) and a draw from it?",
        "eps = torch.randn_like(std); z = mu + std * eps",
    ),
    "noise_reused": (
        "The noise is the same at every call.",
        "Where is your noise drawn, and how often does that line run?",
        "Draw ε inside the function, and set no seed there.",
    ),
    "noise_shared": (
        "All examples of the batch get the same noise.",
        "How many random numbers does a batch of 128 codes of 2 latents need?",
        "ε has the shape of mu: `torch.randn_like(mu)`.",
    ),
    "noise_at_eval": (
        "There is noise where the mean was asked for.",
        "Which parts must give the same answer when you ask twice?",
        "`encode` returns mu and logvar and `decode` maps z to logits, both without noise; ε comes between them.",
    ),
    "broadcast": (
        "Two shapes that do not fit were broadcast without a word.",
        "What does torch make of (5,) + (5, 1)? Try it.",
        "Give ε the shape of mu, and sum every term over the same dimension, without keepdim.",
    ),
    "logits_as_probabilities": (
        "Logits and probabilities are mixed up: there is a sigmoid too few or too many.",
        "Which of your tensors lie between 0 and 1?",
        "Give logits to `binary_cross_entropy_with_logits`; the decoder ends without a sigmoid.",
    ),
    "softmax": (
        "A softmax stands where a sigmoid belongs.",
        "Must the pixels of an image add up to 1?",
        "Each pixel is a coin of its own: its mean is sigmoid(logit).",
    ),
    "wrong_target": (
        "The reconstruction is compared with the wrong thing.",
        "With which image should the i-th reconstruction be compared?",
        "The target is x itself: same order, unchanged, as the second argument.",
    ),
    "gradient_cut": (
        "A gradient is cut: part of the model would never learn.",
        "Follow the path from the loss back to mu and logvar. Where does it end?",
        "Take out `.detach()`, `.item()`, `.data`, `torch.no_grad()`; `rsample()` in place of `sample()`.",
    ),
    "logvar_bounded": (
        "log σ² cannot fall below 0: σ is never less than 1.",
        "Which numbers can the logarithm of σ² be when σ is small? Which ones can your last layer give?",
        "Nothing follows the layer that makes logvar: no ReLU, softplus, exp or sigmoid. Return log σ², not σ.",
    ),
    "logits_bounded": (
        "The logits cannot fall far below 0: no pixel can become black.",
        "What is a pixel's probability when its logit is 0? And when it is −1?",
        "Nothing follows the decoder's last layer: no ReLU, no tanh.",
    ),
    "zero_grad_missing": (
        "Gradients of earlier steps are still in the sum.",
        "`backward()` adds to `.grad`. Who clears it?",
        "Call `optimizer.zero_grad()` before `loss.backward()`.",
    ),
    "wrong_gradient": (
        "The step does not follow this batch's gradient.",
        "What is in the weights' `.grad` at the moment when `optimizer.step()` runs?",
        "Three lines, in this order: `optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`.",
    ),
    "step_missing": (
        "The optimizer took no step.",
        "Who changes the weights once the gradients are known?",
        "Call `optimizer.step()` after `loss.backward()`.",
    ),
    "unrecognized": (
        "The result is wrong.",
        "Take the smallest case, one example and one latent, and work it out by hand.",
        "Compare term by term with the equation above.",
    ),
}

CODES = tuple(_ALL)
FACTS = {code: words[0] for code, words in _ALL.items()}
HINTS = {code: words[1:] for code, words in _ALL.items()}
