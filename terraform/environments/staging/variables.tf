variable "image_digests" {
  description = "Digests of the three images in ECR; deploy.yml passes those that it built or that staging runs."
  type        = object({ gateway = string, pipelines = string, mlflow = string })
  nullable    = false
}
